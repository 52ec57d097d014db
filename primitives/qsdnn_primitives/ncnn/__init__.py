"""The engine ``ncnn``, host half: segments as ncnn networks, an algorithm for each convolution."""

from .engine import NcnnEngine

ENGINE = NcnnEngine()
