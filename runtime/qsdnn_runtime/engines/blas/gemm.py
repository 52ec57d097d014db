"""Matrix products on BLAS (ONNX Gemm 13, MatMul 13)."""

from __future__ import annotations

from functools import partial
from typing import Iterator

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
