"""The engine ``ncnn``, host half: segments as ncnn networks, an algorithm for each convolution."""

from qsdnn_primitives.ncnn.engine import NcnnEngine

ENGINE = NcnnEngine()
