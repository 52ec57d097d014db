"""1×1 convolutions of stride 1: the image already is im2col's matrix, so only the GEMM remains."""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from .convolution import convolution_of
from .kernel import Arrays, Kernel, Op, Step


class Pointwise(Kernel):
    """y = W (M, C) · x (C, positions)."""

    name = "sgemm"
    algorithm = "im2col"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        self.weights = conv.weights.reshape(conv.groups, conv.filters // conv.groups, -1)
        self.bias = None if conv.bias is None else conv.bias.reshape(conv.groups, -1, 1)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        shape = (len(inputs[0]), self.conv.groups, -1, self.conv.positions)
        x, y = inputs[0].reshape(shape), outputs[0].reshape(shape)
        yield partial(np.matmul, self.weights, x, out=y)
        if self.bias is not None:
            yield partial(np.add, y, self.bias, out=y)
