"""Functions of one element, and of several tensors element by element (ONNX's of the same names).

Elementwise operators broadcast as PyTorch does, which is as ONNX does.
"""

from __future__ import annotations

from typing import Any, Dict, Sequence, Tuple

import torch

from qsdnn_runtime.engines.blas.kernel import Op

from .domain import Domain, Tensor
from .kernel import Function, Kernel, Made

_NN = torch._C._nn

UNARY: Dict[str, Function] = {
    "Abs": torch.abs,
    "Ceil": torch.ceil,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Gelu": _NN.gelu,
    "HardSwish": _NN.hardswish,
    "Log": torch.log,
    "Mish": _NN.mish,
    "Neg": torch.neg,
    "Reciprocal": torch.reciprocal,
    "Sigmoid": torch.sigmoid,
    "Softplus": _NN.softplus,
    "Sqrt": torch.sqrt,
    "Tanh": torch.tanh,
}

WITH_ARGUMENTS: Dict[str, Tuple[Function, Tuple[Any, ...], Tuple[str, ...]]] = {
    "Clip": (torch.clamp, (), ("min", "max")),
    "Elu": (_NN.elu, (), ("alpha",)),
    "GeluTanh": (lambda x, out: _NN.gelu(x, approximate="tanh", out=out), (), ()),
    "LeakyRelu": (_NN.leaky_relu, (), ("alpha",)),
    "Power": (torch.pow, (), ("exponent",)),
    "Relu": (torch.clamp, (0.0,), ()),
    "Selu": (_NN.elu, (), ("alpha", "gamma")),
}
"""The function of an operator, its fixed arguments, and the attributes that follow as arguments."""

BINARY: Dict[str, Function] = {
    "Add": torch.add,
    "Div": torch.div,
    "Max": torch.maximum,
    "Mean": torch.add,
    "Min": torch.minimum,
    "Mul": torch.mul,
    "Pow": torch.pow,
    "Sub": torch.sub,
    "Sum": torch.add,
}


class Unary(Kernel):
    """One function over the input."""

    in_place = (0,)

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        function, fixed, names = WITH_ARGUMENTS.get(op.kind) or (UNARY[op.kind], (), ())
        self.function = function
        most = torch.finfo(domain.dtype).max  # a limit of fp32 is no number of fp16
        numbers = (max(-most, min(op.number(name), most)) for name in names)
        self.arguments = (*fixed, *numbers)

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        self.function(inputs[0], *self.arguments, out=out)


class HardSigmoid(Kernel):
    """min(max(alpha · x + beta, 0), 1)."""

    in_place = (0,)

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.alpha, self.beta = op.number("alpha"), op.number("beta")

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        torch.mul(inputs[0], self.alpha, out=out)
        out.add_(self.beta).clamp_(0.0, 1.0)


class Softsign(Kernel):
    """x / (1 + |x|)."""

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        torch.abs(inputs[0], out=out)
        torch.div(inputs[0], out.add_(1.0), out=out)


class PRelu(Made):
    """x where x is positive, else slope · x."""

    def compute(self, *inputs: Tensor) -> Tensor:
        """See `Made.compute`."""
        x, slope = inputs
        return torch.where(x > 0, x, x * slope)


class Eltwise(Kernel):
    """Combines any number of tensors, two at a time, into the output."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.function = BINARY[op.kind]
        # A third tensor is read after the output was written: it may not share its memory.
        self.in_place = (0, 1) if len(op.inputs) == 2 else (0,)
        self.mean = op.kind == "Mean"

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        if len(inputs) == 1:
            out.copy_(inputs[0])
        else:
            # two of several may spread less far than all
            first = inputs[0] if len(inputs) == 2 else inputs[0].expand_as(out)
            self.function(first, inputs[1], out=out)
        for x in inputs[2:]:
            self.function(out, x, out=out)
        if self.mean:
            out.mul_(1 / len(inputs))
