"""The engine ``ncnn``, board half: one network, with an algorithm for each convolution."""

from .loader import NcnnLoader

LOADER = NcnnLoader()
