"""The engine ``ncnn``, host half: segments as ncnn networks, with an algorithm per convolution."""

from qsdnn_primitives.ncnn.engine import NcnnEngine

ENGINE = NcnnEngine()
