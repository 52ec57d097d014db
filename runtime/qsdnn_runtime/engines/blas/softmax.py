"""Softmax and its logarithm, with the largest element subtracted first (ONNX Softmax 13)."""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from .kernel import Arrays, Kernel, Op, Step


class Softmax(Kernel):
    """exp(x - max) / Σ exp(x - max), over some dimensions."""

    name = "softmax"
    in_place = (0,)

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.axes = op.ints("axes")
        shape = op.inputs[0].shape
        self.scratch = (tuple(1 if axis in self.axes else n for axis, n in enumerate(shape)),)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        x, y, each = inputs[0], outputs[0], scratch[0]
        yield partial(np.maximum.reduce, x, axis=self.axes, out=each, keepdims=True)
        yield partial(np.subtract, x, each, out=y)
        yield partial(np.exp, y, out=y)
        yield partial(np.add.reduce, y, axis=self.axes, out=each, keepdims=True)
        yield partial(np.divide, y, each, out=y)


class LogSoftmax(Softmax):
    """x - max - log Σ exp(x - max), over some dimensions."""

    name = "log_softmax"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.scratch = (*self.scratch, op.inputs[0].shape)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        x, y, (each, powers) = inputs[0], outputs[0], scratch
        yield partial(np.maximum.reduce, x, axis=self.axes, out=each, keepdims=True)
        yield partial(np.subtract, x, each, out=y)
        yield partial(np.exp, y, out=powers)
        yield partial(np.add.reduce, powers, axis=self.axes, out=each, keepdims=True)
        yield partial(np.log, each, out=each)
        yield partial(np.subtract, y, each, out=y)
