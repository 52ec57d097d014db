"""Elementwise operators and normalizations per channel."""

from __future__ import annotations

from functools import partial
from math import prod

import numpy as np
import onnx_ir as ir

from qsdnn_primitives.lne.activation import Function, function_of
from qsdnn_primitives.lne.arguments import OPERATIONS, activation_arguments
from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.packing import pack_channels
from qsdnn_primitives.lne.program import Value, Weights
from qsdnn_primitives.lne.tensor import Image, Tensor
from qsdnn_primitives.lne.values import constant_of, is_image
from qsdnn_primitives.plain.node import UnsupportedError, is_constant, static_shape

_MOST_PARTS = 64


def unary(builder: Builder, fused: Fused) -> None:
    """An operator of one operand, in the form that the operand has."""
    function = function_of(fused.op)
    if function is None:
        raise UnsupportedError(f"{fused.op.kind} has no kernel")
    source = fused.op.inputs[0]
    x = builder.elements(source)
    if x is not None:
        y = builder.new_image(*x.size_of_image)
        builder.take(fused.output, y)
        apply(builder, x, y, function)
        return
    plain, made = builder.plain(source), builder.plain_of(fused.output)
    rows, width = _lines(prod(static_shape(source)), builder.lanes)
    builder.add("unary", (plain,), made, lambda: {
        "x": plain, "y": made, "blocks": 1, "height": rows, "width": width // builder.lanes,
        "rest": width % builder.lanes, "x_row": width, "y_row": width,
        **activation_arguments(function),
    })  # fmt: skip


def _lines(size: int, lanes: int) -> tuple[int, int]:
    """Lines of some floats, for threads to share: of whole vectors if there are such lines."""
    counts = [n for n in range(1, min(size // (8 * lanes) + 1, 64) + 1) if size % n == 0]
    rows = max(counts, key=lambda n: (size // n % lanes == 0, n))
    return rows, size // rows


def apply(builder: Builder, x: Image, y: Image, function: Function) -> None:
    """Adds a function of each element of an image."""
    builder.add("unary", (x,), y, lambda: {
        "x": x, "y": y, "blocks": x.blocks, "height": x.height, "width": x.width,
        "x_block": x.block, "x_row": x.row, "y_block": y.block, "y_row": y.row,
        **activation_arguments(function),
    })  # fmt: skip


def binary(builder: Builder, fused: Fused) -> None:
    """An operator of two operands."""
    left, right = fused.op.inputs
    if not _in_blocks(builder, fused, left, right):
        _plain(builder, fused, left, right)


def _in_blocks(builder: Builder, fused: Fused, left: ir.Value, right: ir.Value) -> bool:
    """Adds the operator on blocked images, where both operands fit; whether they do."""
    shape = static_shape(fused.output)
    images = [value for value in (left, right) if builder.has_image(value)]
    if not is_image(shape) or not any(static_shape(value) == shape for value in images):
        return False
    operands = []
    for value in (left, right):
        found = _operand(builder, value, shape)
        if found is None:
            return False
        operands.append(found)
    y = builder.image_of(fused.output)
    (x, x_steps), (z, z_steps) = operands
    reads = tuple(place for place in (x, z) if isinstance(place, Tensor))

    def arguments() -> dict[str, Value]:
        return {
            "x": x, "z": z, "y": y, "operation": int(OPERATIONS[fused.op.kind]),
            "blocks": y.blocks, "height": y.height, "width": y.width,
            **_steps("x", x, x_steps, y.lanes), **_steps("z", z, z_steps, y.lanes),
            "y_block": y.block, "y_row": y.row, **activation_arguments(fused.function),
        }  # fmt: skip

    builder.add("binary", reads, y, arguments)
    return True


def _operand(
    builder: Builder, value: ir.Value, shape: tuple[int, ...]
) -> tuple[Image | Weights, str] | None:
    """An operand of an operator on images: a place, and how it spreads over the image."""
    own = (1,) * (len(shape) - len(static_shape(value))) + static_shape(value)
    spread = all(size == 1 for size in own[2:]) and any(size > 1 for size in shape[2:])
    if is_constant(value):
        numbers = constant_of(value)
        if numbers.size == 1:
            return np.full(builder.lanes, numbers.reshape(-1)[0], np.float32), "one"
        if own[1] == shape[1] and all(size == 1 for size in (own[0], *own[2:])):
            return pack_channels(numbers, builder.lanes, shape[1]), "channel"
        return None
    if own[0] != 1 or own[1] != shape[1] or not (own == shape or spread):
        return None
    if static_shape(value) != own:
        return None
    return builder.image(value), "channel" if spread else "pixel"


def _steps(letter: str, place: Image | Weights, spread: str, lanes: int) -> dict[str, Value]:
    if spread == "one":
        return {}
    if spread == "channel":
        return {f"{letter}_block": place.block if isinstance(place, Image) else lanes}
    assert isinstance(place, Image)
    return {
        f"{letter}_block": place.block,
        f"{letter}_row": place.row,
        f"{letter}_column": place.lanes,
    }


def _plain(builder: Builder, fused: Fused, left: ir.Value, right: ir.Value) -> None:
    """Adds the operator on plain tensors, by numpy's rules of broadcasting."""
    shape = static_shape(fused.output)
    strides = [_strides(static_shape(value), shape) for value in (left, right)]
    dims = _collapsed(shape, strides)
    *outer, (blocks, x_block, z_block), (height, x_row, z_row), (width, x_one, z_one) = (
        *[(1, 0, 0)] * (3 - len(dims)), *dims,
    )  # fmt: skip
    if prod(size for size, _, _ in outer) > _MOST_PARTS:
        raise UnsupportedError("its operands spread in too many ways")
    lanes = builder.lanes
    places: list[Tensor | Weights] = [
        constant_of(value) if is_constant(value) else builder.plain(value)
        for value in (left, right)
    ]
    y = builder.plain_of(fused.output)
    reads = tuple(place for place in places if isinstance(place, Tensor))
    found: dict[str, Value] = {
        "operation": int(OPERATIONS[fused.op.kind]), "blocks": blocks, "height": height,
        "width": width // lanes, "rest": width % lanes, "x_block": x_block, "x_row": x_row,
        "x_column": x_one * lanes, "x_splat": int(not x_one), "z_block": z_block, "z_row": z_row,
        "z_column": z_one * lanes, "z_splat": int(not z_one), "y_block": height * width,
        "y_row": width, **activation_arguments(fused.function),
    }  # fmt: skip
    for number, at in enumerate(np.ndindex(*(size for size, _, _ in outer))):
        x_start = sum(i * step for i, (_, step, _) in zip(at, outer, strict=True))
        z_start = sum(i * step for i, (_, _, step) in zip(at, outer, strict=True))
        whole: dict[str, Value] = {
            "x": (places[0], x_start), "z": (places[1], z_start),
            "y": (y, number * blocks * height * width), **found,
        }  # fmt: skip
        builder.add("binary", reads, y, partial(dict, whole))


def _strides(own: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    """The distance between neighbours in each dimension of `shape`; 0 where it is spread."""
    padded = (1,) * (len(shape) - len(own)) + own
    return [0 if size == 1 else prod(padded[axis + 1 :]) for axis, size in enumerate(padded)]


def _collapsed(shape: tuple[int, ...], strides: list[list[int]]) -> list[tuple[int, int, int]]:
    """Dimensions (size, step of left, step of right), with those that run on as one made one."""
    dims: list[tuple[int, int, int]] = []
    for size, x, z in zip(shape, *strides, strict=True):
        if size == 1:
            continue
        if dims and dims[-1][1] == x * size and dims[-1][2] == z * size:
            dims[-1] = (dims[-1][0] * size, x, z)
        else:
            dims.append((size, x, z))
    return dims or [(1, 0, 0)]


def batch_normalization(builder: Builder, fused: Fused) -> None:
    """BatchNormalization of an image: a scale and a shift for each channel."""
    op = fused.op
    scale, shift, mean, variance = (
        constant_of(value).astype(np.float64) for value in op.inputs[1:]
    )
    factor = scale / np.sqrt(variance + op.attributes["epsilon"])
    affine(builder, fused, factor, shift - mean * factor)


def affine(builder: Builder, fused: Fused, scale: np.ndarray, shift: np.ndarray) -> None:
    """Adds x · scale + shift of each channel."""
    x = builder.image(fused.op.inputs[0])
    y = builder.image_of(fused.output)
    scales = pack_channels(scale.astype(np.float32), builder.lanes, x.channels)
    shifts = pack_channels(shift.astype(np.float32), builder.lanes, x.channels)
    builder.add("affine", (x,), y, lambda: {
        "x": x, "scale": scales, "shift": shifts, "y": y, "blocks": x.blocks,
        "height": x.height, "width": x.width, "x_block": x.block, "x_row": x.row,
        "y_block": y.block, "y_row": y.row, **activation_arguments(fused.function),
    })  # fmt: skip
