"""Operators that are a function of each element: as a kernel's last act, or by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from qsdnn_primitives.lne.kernel import Activation
from qsdnn_primitives.plain.node import Op

Function = tuple[Activation, float, float]
IDENTITY: Function = (Activation.NONE, 0.0, 0.0)

_SIMPLE: Mapping[str, Activation] = {
    "Abs": Activation.ABS, "Ceil": Activation.CEIL, "Erf": Activation.ERF,
    "Exp": Activation.EXP, "Floor": Activation.FLOOR, "Gelu": Activation.GELU,
    "GeluTanh": Activation.GELU_TANH, "HardSwish": Activation.HARD_SWISH, "Log": Activation.LOG,
    "Mish": Activation.MISH, "Neg": Activation.NEG, "Reciprocal": Activation.RECIPROCAL,
    "Sigmoid": Activation.SIGMOID, "Silu": Activation.SILU, "Softplus": Activation.SOFTPLUS,
    "Softsign": Activation.SOFTSIGN, "Sqrt": Activation.SQRT, "Tanh": Activation.TANH,
}  # fmt: skip

_POWERS: Mapping[float, Function] = {
    -1.0: (Activation.RECIPROCAL, 0.0, 0.0),
    0.5: (Activation.SQRT, 0.0, 0.0),
    1.0: IDENTITY,
    2.0: (Activation.SQUARE, 0.0, 0.0),
}


def function_of(op: Op) -> Function | None:
    """The function of one operand that an operator is; None where it is none of these."""
    attributes = op.attributes
    if op.kind in _SIMPLE:
        return (_SIMPLE[op.kind], 0.0, 0.0)
    match op.kind:
        case "Relu":
            return (Activation.CLIP, 0.0, inf)
        case "Clip":
            return (Activation.CLIP, float(attributes["min"]), float(attributes["max"]))
        case "LeakyRelu":
            return (Activation.LEAKY, float(attributes["alpha"]), 0.0)
        case "Elu":
            return (Activation.ELU, float(attributes["alpha"]), 0.0)
        case "Selu":
            return (Activation.SELU, float(attributes["alpha"]), float(attributes["gamma"]))
        case "HardSigmoid":
            return (
                Activation.HARD_SIGMOID, float(attributes["alpha"]), float(attributes["beta"]),
            )  # fmt: skip
        case "Scale":
            return (Activation.SCALE, float(attributes["factor"]), 0.0)
        case "Power":
            exponent = float(attributes["exponent"])
            return _POWERS.get(exponent, (Activation.RAISED, exponent, 0.0))
    return None


def limits(function: Function) -> tuple[float, float, Function]:
    """A function as limits that every tile applies, and what is left of it."""
    kind, low, high = function
    return (low, high, IDENTITY) if kind is Activation.CLIP else (-inf, inf, function)
