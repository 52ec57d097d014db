"""Activations, and operators on two or more blobs of like shape."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from qsdnn_primitives.ncnn.operator import Lowering, Param, Weight
from qsdnn_primitives.plain.node import UnsupportedError, is_constant, scalar_of, static_shape

UNBOUNDED = 1e30
"""The magnitude from which a limit counts as none: ncnn may misread the largest float as text."""

_BINARY: Mapping[str, int] = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3, "Max": 4, "Min": 5}
_REVERSED: Mapping[str, int] = {"Add": 0, "Sub": 7, "Mul": 2, "Div": 8, "Max": 4, "Min": 5}
_FOLDED: Mapping[str, str] = {"Sum": "Add", "Mean": "Add", "Max": "Max", "Min": "Min"}

_PLAIN: Mapping[str, str] = {
    "Mish": "Mish",
    "Relu": "ReLU",
    "Sigmoid": "Sigmoid",
    "Softplus": "Softplus",
    "Tanh": "TanH",
}
_UNARY: Mapping[str, int] = {
    "Abs": 0,
    "Ceil": 3,
    "Floor": 2,
    "Neg": 1,
    "Reciprocal": 15,
    "Sqrt": 5,
}
_POWERS: Mapping[float, int] = {2.0: 4, 0.5: 5, -1.0: 15}

PLAIN = frozenset(_PLAIN)
UNARY = frozenset(_UNARY)


def plain(low: Lowering) -> None:
    """An activation without parameters."""
    low.simple(_PLAIN[low.op.kind])


def unary(low: Lowering) -> None:
    """A function of one element."""
    low.simple("UnaryOp", {0: _UNARY[low.op.kind]})


def power(low: Lowering) -> None:
    """Pow, for exponents that ncnn has an operator for; ncnn's own power takes no negative base."""
    exponent = float(low.op.attributes["exponent"])
    if exponent not in _POWERS:
        raise UnsupportedError(f"to the power of {exponent:g}")
    low.simple("UnaryOp", {0: _POWERS[exponent]})


def leaky_relu(low: Lowering) -> None:
    """LeakyRelu."""
    low.simple("ReLU", {0: float(low.op.attributes["alpha"])})


def elu(low: Lowering) -> None:
    """Elu."""
    low.simple("ELU", {0: float(low.op.attributes["alpha"])})


def selu(low: Lowering) -> None:
    """Selu."""
    attributes = low.op.attributes
    low.simple("SELU", {0: float(attributes["alpha"]), 1: float(attributes["gamma"])})


def hard_sigmoid(low: Lowering) -> None:
    """HardSigmoid."""
    attributes = low.op.attributes
    low.simple("HardSigmoid", {0: float(attributes["alpha"]), 1: float(attributes["beta"])})


def hard_swish(low: Lowering) -> None:
    """HardSwish: x · clip(x / 6 + ½, 0, 1)."""
    low.simple("HardSwish", {0: 1 / 6, 1: 0.5})


def gelu(low: Lowering) -> None:
    """Gelu, exact or by tanh."""
    low.simple("GELU", {0: int(low.op.kind == "GeluTanh")})


def clip(low: Lowering) -> None:
    """Clip; an infinite or huge limit is left out."""
    limits = (float(low.op.attributes["min"]), float(low.op.attributes["max"]))
    if any(np.isnan(limit) for limit in limits):
        raise UnsupportedError("a limit is not a number")
    low.simple("Clip", {i: v for i, v in enumerate(limits) if abs(v) < UNBOUNDED})


def prelu(low: Lowering) -> None:
    """PRelu with one slope, or with one slope for each channel."""
    slope = low.weight(1)
    shape, rank = static_shape(slope), len(static_shape(low.op.inputs[0]))
    aligned = (1,) * (rank - len(shape)) + shape
    count = int(np.prod(shape))
    if count > 1 and (len(aligned) != rank or aligned[1] != count or count != low.shape()[0]):
        raise UnsupportedError("its slope is not one a channel")
    low.add("PReLU", [low.read()], {0: count}, [Weight(value=slope)], outputs=[low.output])


def binary(low: Lowering) -> None:
    """Add, Sub, Mul and Div of two operands."""
    first, second = low.op.inputs
    _pair(low, low.op.kind, first, second, low.output)


def folded(low: Lowering) -> None:
    """Sum, Mean, Max and Min of any number of operands, two at a time."""
    kind, inputs = _FOLDED[low.op.kind], low.op.inputs
    if len(inputs) == 1:
        low.finish(low.read(), low.shape())
        return
    total: ir.Value | str = inputs[0]
    for number, value in enumerate(inputs[1:], 2):
        last = number == len(inputs) and low.op.kind != "Mean"
        total = _pair(low, kind, total, value, low.output if last else None)
    if low.op.kind == "Mean":
        low.add("BinaryOp", [str(total)], _scalar(2, 1 / len(inputs)), outputs=[low.output])


def _pair(
    low: Lowering, kind: str, first: ir.Value | str, second: ir.Value | str, output: str | None
) -> str:
    """The blob of an operation on two operands: ONNX values, or blobs of the output's shape."""
    outputs = [output] if output else []
    rank = len(low.output_shape) + 1
    for operand, other, codes in ((second, first, _BINARY), (first, second, _REVERSED)):
        if isinstance(operand, ir.Value) and is_constant(operand):
            tensor = operand.const_value
            if tensor is not None and tensor.size == 1 and len(static_shape(operand)) <= rank:
                number = scalar_of(tensor.numpy())
                blob = _blob(low, other, rank)
                return low.add("BinaryOp", [blob], _scalar(codes[kind], number), outputs=outputs)
    blobs = [_blob(low, first, rank), _blob(low, second, rank)]
    return low.add("BinaryOp", blobs, {0: _BINARY[kind]}, outputs=outputs)


def _blob(low: Lowering, operand: ir.Value | str, rank: int) -> str:
    return operand if isinstance(operand, str) else low.operand(operand, rank)


def _scalar(code: int, number: float) -> dict[int, Param]:
    if not abs(number) < UNBOUNDED:
        raise UnsupportedError(f"{number} has no text")
    return {0: code, 1: 1, 2: float(number)}
