"""Activations and other functions of one element (the ONNX operators of the same names)."""

from __future__ import annotations

from functools import partial
from typing import Callable, Dict, Iterator

import numpy as np

from .kernel import TILE, Arrays, Kernel, Op, Step, scalar, tiles

Passes = Callable[[Op, np.ndarray, np.ndarray, Arrays], Iterator[Step]]
"""Makes the steps for one tile: operator, input, output (may be the input), four buffers."""

ZERO, HALF, ONE = scalar(0), scalar(0.5), scalar(1)

UFUNCS: Dict[str, np.ufunc] = {
    "Abs": np.absolute,
    "Ceil": np.ceil,
    "Exp": np.exp,
    "Floor": np.floor,
    "Log": np.log,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Sqrt": np.sqrt,
    "Tanh": np.tanh,
}

ERF_P = scalar(0.3275911)
ERF_A = tuple(
    scalar(a) for a in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
)
"""The coefficients a5 … a1, in the order of Horner's rule."""


class Unary(Kernel):
    """One pass of a ufunc over the input."""

    in_place = (0,)

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.ufunc = UFUNCS[op.kind]
        self.name = self.ufunc.__name__

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        yield partial(self.ufunc, inputs[0], out=outputs[0])


class Relu(Kernel):
    """max(x, 0)."""

    name = "relu"
    in_place = (0,)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        yield partial(np.maximum, inputs[0], ZERO, out=outputs[0])


class Clip(Kernel):
    """min(max(x, low), high)."""

    name = "clip"
    in_place = (0,)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        low, high = scalar(self.op.number("min")), scalar(self.op.number("max"))
        yield partial(np.maximum, inputs[0], low, out=outputs[0])
        yield partial(np.minimum, outputs[0], high, out=outputs[0])


class Activation(Kernel):
    """A function of several passes, tile by tile, so that later passes read the tile from cache."""

    in_place = (0,)
    scratch = ((TILE,),) * 4

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.passes = PASSES[op.kind]
        self.name = op.kind.lower()

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        for x, y in tiles(inputs[0], outputs[0]):
            room = [array[: len(x)] for array in scratch]
            yield from self.passes(self.op, x, y, room)


def _sigmoid(op: Op, x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    yield partial(np.negative, x, out=y)
    yield partial(np.exp, y, out=y)
    yield partial(np.add, y, ONE, out=y)
    yield partial(np.divide, ONE, y, out=y)


def _hard_sigmoid(op: Op, x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    yield partial(np.multiply, x, scalar(op.number("alpha")), out=y)
    yield partial(np.add, y, scalar(op.number("beta")), out=y)
    yield partial(np.maximum, y, ZERO, out=y)
    yield partial(np.minimum, y, ONE, out=y)


def _hard_swish(op: Op, x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    yield partial(np.multiply, x, scalar(1 / 6), out=room[0])
    yield partial(np.add, room[0], HALF, out=room[0])
    yield partial(np.maximum, room[0], ZERO, out=room[0])
    yield partial(np.minimum, room[0], ONE, out=room[0])
    yield partial(np.multiply, x, room[0], out=y)


def _leaky_relu(op: Op, x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    yield partial(np.minimum, x, ZERO, out=room[0])
    yield partial(np.multiply, room[0], scalar(op.number("alpha")), out=room[0])
    yield partial(np.maximum, x, ZERO, out=y)
    yield partial(np.add, y, room[0], out=y)


def _elu(op: Op, x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    yield partial(np.minimum, x, ZERO, out=room[0])
    yield partial(np.expm1, room[0], out=room[0])
    yield partial(np.multiply, room[0], scalar(op.number("alpha")), out=room[0])
    yield partial(np.maximum, x, ZERO, out=y)
    yield partial(np.add, y, room[0], out=y)


def _selu(op: Op, x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    yield from _elu(op, x, y, room)
    yield partial(np.multiply, y, scalar(op.number("gamma")), out=y)


def _softplus(op: Op, x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    yield partial(np.logaddexp, x, ZERO, out=y)


def _softsign(op: Op, x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    yield partial(np.absolute, x, out=room[0])
    yield partial(np.add, room[0], ONE, out=room[0])
    yield partial(np.divide, x, room[0], out=y)


def _mish(op: Op, x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    yield partial(np.logaddexp, x, ZERO, out=room[0])
    yield partial(np.tanh, room[0], out=room[0])
    yield partial(np.multiply, x, room[0], out=y)


def _erf(op: Op, x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    yield from erf_steps(x, y, room[:3])


def _gelu(op: Op, x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    """x/2 · (1 + erf(x/√2))."""
    yield partial(np.multiply, x, scalar(0.5**0.5), out=room[0])
    yield from erf_steps(room[0], room[0], room[1:])
    yield from _times_half_of_one_plus(x, room[0], y)


def _gelu_tanh(op: Op, x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    """x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))."""
    yield partial(np.multiply, x, x, out=room[0])
    yield partial(np.multiply, room[0], scalar(0.044715 * (2 / np.pi) ** 0.5), out=room[0])
    yield partial(np.add, room[0], scalar((2 / np.pi) ** 0.5), out=room[0])
    yield partial(np.multiply, room[0], x, out=room[0])
    yield partial(np.tanh, room[0], out=room[0])
    yield from _times_half_of_one_plus(x, room[0], y)


def _times_half_of_one_plus(x: np.ndarray, gate: np.ndarray, y: np.ndarray) -> Iterator[Step]:
    yield partial(np.multiply, gate, HALF, out=gate)
    yield partial(np.add, gate, HALF, out=gate)
    yield partial(np.multiply, x, gate, out=y)


PASSES: Dict[str, Passes] = {
    "Elu": _elu,
    "Erf": _erf,
    "Gelu": _gelu,
    "GeluTanh": _gelu_tanh,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "LeakyRelu": _leaky_relu,
    "Mish": _mish,
    "Selu": _selu,
    "Sigmoid": _sigmoid,
    "Softplus": _softplus,
    "Softsign": _softsign,
}


def erf_steps(x: np.ndarray, y: np.ndarray, room: Arrays) -> Iterator[Step]:
    """The numpy calls that set y to erf(x).

    M. Abramowitz, I. Stegun: Handbook of Mathematical Functions, 1964, equation 7.1.26: for x ≥ 0

        erf(x) = 1 - (a1·t + a2·t² + a3·t³ + a4·t⁴ + a5·t⁵) · exp(-x²) + ε,  t = 1 / (1 + p·x),

    |ε| ≤ 1.5e-7; rounding in float32 keeps the whole error below 1e-6. erf is odd: the steps take
    |x|, and put the sign back.

    Args:
        x: The input, of any shape, float32.
        y: The output, of the same shape; may be the memory of `x`.
        room: Three scratch arrays of the same shape.
    """
    gauss, t, total = room
    yield partial(np.multiply, x, x, out=gauss)
    yield partial(np.negative, gauss, out=gauss)
    yield partial(np.exp, gauss, out=gauss)
    yield partial(np.absolute, x, out=t)
    yield partial(np.multiply, t, ERF_P, out=t)
    yield partial(np.add, t, ONE, out=t)
    yield partial(np.divide, ONE, t, out=t)
    yield partial(np.multiply, t, ERF_A[0], out=total)  # Horner's rule: total = (a5·t + a4)·t + …
    for a in ERF_A[1:]:
        yield partial(np.add, total, a, out=total)
        yield partial(np.multiply, total, t, out=total)
    yield partial(np.multiply, total, gauss, out=total)
    yield partial(np.subtract, ONE, total, out=total)
    yield partial(np.copysign, total, x, out=y)
