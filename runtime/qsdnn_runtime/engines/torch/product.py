"""Matrix products (ONNX Gemm 13, MatMul 13)."""

from __future__ import annotations

from typing import Sequence

import torch

from qsdnn_runtime.engines.blas.kernel import Op

from .domain import Domain, Tensor
from .kernel import Kernel


class Gemm(Kernel):
    """y = alpha · A' · B' + beta · C, in one call where there is a C."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.turned = bool(op.integer("transA")), bool(op.integer("transB"))
        self.alpha, self.beta = op.number("alpha"), op.number("beta")

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        a, b = (x.t() if turned else x for x, turned in zip(inputs, self.turned))
        if len(inputs) > 2:
            torch.addmm(inputs[2], a, b, beta=self.beta, alpha=self.alpha, out=out)
            return
        torch.mm(a, b, out=out)
        if self.alpha != 1:
            out.mul_(self.alpha)


class MatMul(Kernel):
    """A product of matrices, or of batches of them; one common matrix on the right is one product.

    Images that lie channels-last are copied to be multiplied.
    """

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        shapes = [operand.shape for operand in op.inputs]
        self.folds = len(shapes[0]) > 2 and len(shapes[1]) == 2
        self.plain = not domain.last or 4 not in map(len, (*shapes, op.outputs[0].shape))

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        a, b = inputs
        if not self.plain:
            out.copy_(torch.matmul(a.contiguous(), b.contiguous()))
        elif self.folds:
            torch.mm(a.view(-1, a.shape[-1]), b, out=out.view(-1, out.shape[-1]))
        else:
            torch.matmul(a, b, out=out)
