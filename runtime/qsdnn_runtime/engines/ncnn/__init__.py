"""The engine ``ncnn``, board half: an algorithm for each convolution, within one network."""

from .loader import NcnnLoader

LOADER = NcnnLoader()
