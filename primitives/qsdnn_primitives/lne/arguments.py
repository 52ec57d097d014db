"""Arguments that several kernels share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qsdnn_primitives.lne.kernel import Activation, Operation
from qsdnn_primitives.lne.program import Value, Weights
from qsdnn_primitives.lne.tensor import Image, Tensor

OPERATIONS: Mapping[str, Operation] = {
    "Add": Operation.ADD, "Sub": Operation.SUBTRACT, "Mul": Operation.MULTIPLY,
    "Div": Operation.DIVIDE, "Max": Operation.LARGER, "Min": Operation.SMALLER,
    "Sum": Operation.ADD, "PRelu": Operation.SLOPE, "Pow": Operation.POWER,
}  # fmt: skip
"""The function of each operator of two operands."""


def between(x: Image, y: Image) -> dict[str, Value]:
    """The arguments of a pool that tell where its images lie, once their halos are known."""
    return {
        "x": x, "y": y, "blocks": x.blocks, "height": y.height, "width": y.width,
        "x_height": x.height, "x_width": x.width, "x_block": x.block, "x_row": x.row,
        "y_block": y.block, "y_row": y.row,
    }  # fmt: skip


def move_arguments(
    x: tuple[Tensor | Weights, int],
    y: tuple[Tensor, int],
    dims: Sequence[tuple[int, int, int]],
) -> dict[str, Value]:
    """The arguments of a move, of places and of six dimensions: size, step of x, step of y."""
    found: dict[str, Value] = {"x": x, "y": y}
    for axis, (size, of_x, of_y) in enumerate(dims):
        found |= {f"n{axis}": size, f"x{axis}": of_x, f"y{axis}": of_y}
    return found


def activation_arguments(activation: tuple[Activation, float, float]) -> dict[str, Value]:
    """The arguments of an activation."""
    kind, alpha, beta = activation
    return {"activation": int(kind), "alpha": alpha, "beta": beta}
