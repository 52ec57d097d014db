"""Elementwise operators of several tensors, with numpy's broadcasting (which is ONNX's)."""

from __future__ import annotations

from functools import partial
from typing import Dict, Iterator

import numpy as np

from .kernel import Arrays, Kernel, Op, Step, scalar

UFUNCS: Dict[str, np.ufunc] = {
    "Add": np.add,
    "Div": np.divide,
    "Max": np.maximum,
    "Mean": np.add,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Pow": np.power,
    "Sub": np.subtract,
    "Sum": np.add,
}


class Eltwise(Kernel):
    """Combines any number of tensors, two at a time, into the output."""

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.ufunc = UFUNCS[op.kind]
        self.name = self.ufunc.__name__
        # A third operand is read after the output was written: it may not share the output's
        # memory.
        self.in_place = (0, 1) if len(op.inputs) == 2 else (0,)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        y = outputs[0]
        if len(inputs) == 1:
            yield partial(np.copyto, y, inputs[0])
        else:
            yield partial(self.ufunc, inputs[0], inputs[1], out=y)
        for x in inputs[2:]:
            yield partial(self.ufunc, y, x, out=y)
        if self.op.kind == "Mean":
            yield partial(np.multiply, y, scalar(1 / len(inputs)), out=y)


class Power(Kernel):
    """x to a constant exponent."""

    name = "power"
    in_place = (0,)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        x, y, exponent = inputs[0], outputs[0], self.op.number("exponent")
        if exponent == 2:
            yield partial(np.multiply, x, x, out=y)
        elif exponent == 0.5:
            yield partial(np.sqrt, x, out=y)
        else:
            yield partial(np.power, x, scalar(exponent), out=y)


class PRelu(Kernel):
    """max(x, 0) + slope · min(x, 0)."""

    name = "prelu"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.scratch = (op.inputs[0].shape,)
        self.in_place = (0,)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        (x, slope), y, negative, zero = inputs, outputs[0], scratch[0], scalar(0)
        yield partial(np.minimum, x, zero, out=negative)
        yield partial(np.multiply, negative, slope, out=negative)
        yield partial(np.maximum, x, zero, out=y)
        yield partial(np.add, y, negative, out=y)
