"""Reductions over dimensions, global pooling among them (ONNX ReduceMean 18 and its like)."""

from __future__ import annotations

from functools import partial
from typing import Dict, Iterator

import numpy as np

from .kernel import Arrays, Kernel, Op, Step, scalar

UFUNCS: Dict[str, np.ufunc] = {
    "ReduceMax": np.maximum,
    "ReduceMean": np.add,
    "ReduceMin": np.minimum,
    "ReduceSum": np.add,
}


class Reduce(Kernel):
    """One ufunc over some dimensions."""

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.axes, self.ufunc = op.ints("axes"), UFUNCS[op.kind]
        self.name = op.kind.lower()
        shape = op.inputs[0].shape
        self.kept = tuple(1 if axis in self.axes else n for axis, n in enumerate(shape))
        self.count = int(np.prod(shape)) // max(1, int(np.prod(self.kept)))

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        y = outputs[0].reshape(self.kept)
        yield partial(self.ufunc.reduce, inputs[0], axis=self.axes, out=y, keepdims=True)
        if self.op.kind == "ReduceMean":
            yield partial(np.multiply, y, scalar(1 / self.count), out=y)
