"""Operators that compute each element alone."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
import onnx_ir as ir

from qsdnn_primitives.litert.lowering import Lowering
from qsdnn_primitives.litert.program import (
    Array,
    Constant,
    Tensor,
    floats,
    form_of,
    order,
    transposed,
)
from qsdnn_primitives.plain.arithmetic import FLOAT32_MAX
from qsdnn_primitives.plain.node import UnsupportedError, static_shape

UNARY: Mapping[str, str] = {
    "Abs": "ABS",
    "Ceil": "CEIL",
    "Exp": "EXP",
    "Floor": "FLOOR",
    "HardSwish": "HARD_SWISH",
    "Log": "LOG",
    "Neg": "NEG",
    "Relu": "RELU",
    "Sigmoid": "LOGISTIC",
    "Sqrt": "SQRT",
    "Tanh": "TANH",
}
BINARY: Mapping[str, str] = {"Add": "ADD", "Div": "DIV", "Mul": "MUL", "Pow": "POW", "Sub": "SUB"}
FOLDED: Mapping[str, str] = {"Max": "MAXIMUM", "Mean": "ADD", "Min": "MINIMUM", "Sum": "ADD"}

_CLAMPS: Mapping[tuple[float, float], str] = {(0, 6): "RELU6", (-1, 1): "RELU_N1_TO_1"}
_POWERS: Mapping[float, str] = {0.5: "SQRT", -0.5: "RSQRT"}


class Expression:
    """A function of the first input, written operator by operator in its usual form."""

    def __init__(self, low: Lowering) -> None:
        self._low = low
        self.form = low.usual()
        self.input = low.take(0, self.form)

    def of(self, kind: str, *operands: Tensor | float, **options: float) -> Tensor:
        """An operator on tensors of the input's shape, and numbers."""
        rank = len(self.input.shape)
        tensors = [
            operand if isinstance(operand, Tensor) else floats(np.full((1,) * rank, operand))
            for operand in operands
        ]
        return self._low.add(kind, tensors, self.input.shape, **options)

    def finish(self, tensor: Tensor) -> None:
        """Makes a tensor the output."""
        self._low.finish(tensor, self.form)


def unary(low: Lowering) -> None:
    """Functions that TensorFlow Lite has by itself."""
    made = Expression(low)
    made.finish(made.of(UNARY[low.op.kind], made.input))


def gelu(low: Lowering) -> None:
    """Gelu, exact or by tanh."""
    made = Expression(low)
    made.finish(made.of("GELU", made.input, approximate=low.op.kind == "GeluTanh"))


def leaky_relu(low: Lowering) -> None:
    """LeakyRelu."""
    made = Expression(low)
    made.finish(made.of("LEAKY_RELU", made.input, alpha=float(low.op.attributes["alpha"])))


def elu(low: Lowering) -> None:
    """Elu and Selu; ELU itself has an alpha of 1."""
    made = Expression(low)
    alpha, gamma = float(low.op.attributes["alpha"]), float(low.op.attributes.get("gamma", 1))
    if alpha == 1:
        total = made.of("ELU", made.input)
    else:
        below = made.of("ELU", made.of("MINIMUM", made.input, 0.0))
        total = made.of("ADD", made.of("RELU", made.input), made.of("MUL", below, alpha))
    made.finish(total if gamma == 1 else made.of("MUL", total, gamma))


def hard_sigmoid(low: Lowering) -> None:
    """HardSigmoid: alpha · x + beta, between 0 and 1."""
    made = Expression(low)
    line = made.of("MUL", made.input, float(low.op.attributes["alpha"]))
    line = made.of("ADD", line, float(low.op.attributes["beta"]))
    made.finish(made.of("MINIMUM", made.of("MAXIMUM", line, 0.0), 1.0))


def reciprocal(low: Lowering) -> None:
    """Reciprocal."""
    made = Expression(low)
    made.finish(made.of("DIV", 1.0, made.input))


def softsign(low: Lowering) -> None:
    """Softsign: x / (1 + |x|)."""
    made = Expression(low)
    made.finish(made.of("DIV", made.input, made.of("ADD", made.of("ABS", made.input), 1.0)))


def softplus(low: Lowering) -> None:
    """Softplus, and Mish, which is x · tanh(softplus(x))."""
    made = Expression(low)
    # log(1 + exp(x)) = max(x, 0) + log(1 + exp(−|x|)), in which nothing overflows
    small = made.of("EXP", made.of("NEG", made.of("ABS", made.input)))
    small = made.of("LOG", made.of("ADD", small, 1.0))
    tensor = made.of("ADD", made.of("RELU", made.input), small)
    if low.op.kind == "Mish":
        tensor = made.of("MUL", made.input, made.of("TANH", tensor))
    made.finish(tensor)


def clip(low: Lowering) -> None:
    """Clip; an activation of TensorFlow's where there is one with these limits."""
    limits = (float(low.op.attributes["min"]), float(low.op.attributes["max"]))
    if any(np.isnan(limit) for limit in limits):
        raise UnsupportedError("a limit is not a number")
    made = Expression(low)
    low_end, high_end = limits
    tensor = made.input
    if limits in _CLAMPS:
        tensor = made.of(_CLAMPS[limits], tensor)
    else:
        if low_end == 0:
            tensor = made.of("RELU", tensor)
        elif low_end > -FLOAT32_MAX:
            tensor = made.of("MAXIMUM", tensor, low_end)
        if high_end < FLOAT32_MAX:
            tensor = made.of("MINIMUM", tensor, high_end)
    made.finish(tensor)


def power(low: Lowering) -> None:
    """Pow with a constant exponent."""
    made = Expression(low)
    exponent = float(low.op.attributes["exponent"])
    if exponent == 2:
        made.finish(made.of("MUL", made.input, made.input))
    elif exponent in _POWERS:
        made.finish(made.of(_POWERS[exponent], made.input))
    else:
        low.broadcast(*low.op.inputs[:1])
        made.finish(made.of("POW", made.input, exponent))


def prelu(low: Lowering) -> None:
    """PRelu with a constant slope; PRELU leaves out the batch."""
    slope = low.weight(1)
    rank, shape = len(low.shape()), static_shape(slope)
    padded = (1,) * (rank - len(shape)) + shape
    if rank < 2 or len(padded) != rank or padded[0] != 1:
        raise UnsupportedError("its slope differs between the images of a batch")
    made = Expression(low)
    form = form_of(rank, made.form)

    def convert(array: Array) -> Array:
        turned = array.reshape(padded).transpose(order(rank, form))
        return turned.reshape(turned.shape[1:])

    alpha = Tensor(transposed(padded, form)[1:], "float32", Constant(slope, convert))
    made.finish(low.add("PRELU", [made.input, alpha], made.input.shape))


def binary(low: Lowering) -> None:
    """Add, Sub, Mul, Div and Pow of two operands."""
    low.broadcast(*low.op.inputs)
    form, rank = low.usual(), len(low.output_shape)
    tensors = [low.aligned(value, rank, form) for value in low.op.inputs]
    low.finish(_joined(low, BINARY[low.op.kind], *tensors), form)


def folded(low: Lowering) -> None:
    """Sum, Mean, Max and Min of any number of operands, two at a time."""
    low.broadcast(*low.op.inputs)
    form, rank = low.usual(), len(low.output_shape)
    total, *others = (low.aligned(value, rank, form) for value in low.op.inputs)
    for operand in others:
        total = _joined(low, FOLDED[low.op.kind], total, operand)
    if low.op.kind == "Mean" and others:
        share = floats(np.full((1,) * rank, 1 / len(low.op.inputs)))
        total = low.add("MUL", [total, share], total.shape)
    low.finish(total, form)


def _joined(low: Lowering, kind: str, first: Tensor, second: Tensor) -> Tensor:
    if first.data is not None and second.data is not None:
        raise UnsupportedError("it has constants alone")
    return low.add(kind, [first, second], np.broadcast_shapes(first.shape, second.shape))


def batch_normalization(low: Lowering) -> None:
    """BatchNormalization that could not be folded into the layer before it."""
    channels = low.shape()[1]
    values = [low.weight(index) for index in range(1, 5)]
    if any(prod(static_shape(value)) != channels for value in values):
        raise UnsupportedError("its parameters are not one a channel")
    made, epsilon = Expression(low), float(low.op.attributes["epsilon"])
    rank = len(made.input.shape)
    dims = (1, channels) + (1,) * (rank - 2)
    dims = transposed(dims, form_of(rank, made.form))

    def parameter(value: ir.Value) -> Array:
        return Constant(value).array().reshape(-1).astype(np.float64)

    def factor(array: Array) -> Array:
        return (
            (array.reshape(-1) / np.sqrt(parameter(values[3]) + epsilon)).reshape(dims).astype("f4")
        )

    def addend(array: Array) -> Array:
        factors = parameter(values[0]) / np.sqrt(parameter(values[3]) + epsilon)
        return (array.reshape(-1) - parameter(values[2]) * factors).reshape(dims).astype("f4")

    scaled = made.of("MUL", made.input, Tensor(dims, "float32", Constant(values[0], factor)))
    made.finish(made.of("ADD", scaled, Tensor(dims, "float32", Constant(values[1], addend))))
