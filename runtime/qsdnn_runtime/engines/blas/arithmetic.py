"""Matrix products on BLAS (ONNX Gemm 13, MatMul 13), and elementwise operators of several tensors.

The elementwise ones broadcast as numpy does, which is as ONNX does.
"""

from __future__ import annotations

from functools import partial
from typing import Dict, Iterator

import numpy as np

from qsdnn_runtime.engine import EngineError

from .kernel import Arrays, Kernel, Op, Step, scalar


class Gemm(Kernel):
    """y = alpha · A' · B' + beta · C. A transposed operand is a view: BLAS reads both orders."""

    name = "sgemm"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.bias = None
        if len(op.inputs) > 2 and op.inputs[2].constant is not None:
            self.bias = op.inputs[2].constant * scalar(op.number("beta"))

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        a = inputs[0].T if self.op.integer("transA") else inputs[0]
        b = inputs[1].T if self.op.integer("transB") else inputs[1]
        alpha, y = self.op.number("alpha"), outputs[0]
        yield partial(np.matmul, a, b, out=y)
        if alpha != 1:
            yield partial(np.multiply, y, scalar(alpha), out=y)
        if len(inputs) > 2:
            yield partial(np.add, y, inputs[2] if self.bias is None else self.bias, out=y)


class MatMul(Kernel):
    """numpy's matmul; a batch of matrices with a common right operand is one product."""

    name = "sgemm"

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        (a, b), y = inputs, outputs[0]
        if a.ndim > 2 and b.ndim == 2:
            a, y = a.reshape(-1, a.shape[-1]), y.reshape(-1, y.shape[-1])
        yield partial(np.matmul, a, b, out=y)


class Gemv(Gemm):
    """One row times a constant matrix: each output is a dot product over adjacent memory.

    The matrix is stored with its columns adjacent, transposed if need be: it is read once, from the
    first to the last element, which is all that such a product costs.
    """

    name = "sgemv"
    algorithm = "gemv"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        weights = op.constant(1)
        if weights.ndim != 2 or int(np.prod(op.outputs[0].shape[:-1])) != 1:
            raise EngineError("gemv takes one row and a matrix")
        transposed = op.kind == "Gemm" and bool(op.integer("transB"))
        self.weights = np.ascontiguousarray(weights if transposed else weights.T)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        y = outputs[0].reshape(-1)
        yield partial(np.matmul, self.weights, inputs[0].reshape(-1), out=y)
        if self.op.kind == "MatMul":
            return
        if self.op.number("alpha") != 1:
            yield partial(np.multiply, y, scalar(self.op.number("alpha")), out=y)
        if len(inputs) > 2:
            bias = inputs[2] if self.bias is None else self.bias
            yield partial(np.add, outputs[0], bias, out=outputs[0])


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
