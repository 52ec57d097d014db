"""Convolutions and products of few bits, int8 and bfloat16: what they read is rounded before.

Images between layers stay in single precision: a layer's precision is its own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qsdnn.errors import BuildError
from qsdnn.primitive import Precision
from qsdnn_primitives.lne import batch
from qsdnn_primitives.lne.activation import limits
from qsdnn_primitives.lne.arguments import activation_arguments
from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.convolution import Geometry, added_of, sum_arguments, weights_of
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.kernel import Tile
from qsdnn_primitives.lne.packing import Array, cut, pack_channels
from qsdnn_primitives.lne.product import pairs_of, row_bias, rows_of
from qsdnn_primitives.lne.program import Packed, Value
from qsdnn_primitives.lne.shape import pixels_of, tile_of
from qsdnn_primitives.lne.tensor import Image, Tensor
from qsdnn_primitives.lne.values import bias_of
from qsdnn_primitives.plain.node import Op, is_constant
from qsdnn_primitives.quantization.scale import Scale, quantize_weight

TILES = {Precision.BF16: Tile.BF16, Precision.INT8: Tile.INT8}
_IN_WORD = {Precision.INT8: 4, Precision.BF16: 2}
"""The numbers in a word of 32 bits."""

_PRODUCTS = ("Conv", "Gemm", "MatMul")


def can_be_narrow(ops: Sequence[Op], inputs: Sequence[str], lanes: int) -> bool:
    """Whether a layer is one product with constant weights, of enough channels of an input.

    Args:
        ops: The layer's operators.
        inputs: The names of the layer's inputs: of these a calibration knows the range.
        lanes: The channels in a block.
    """
    products = [op for op in ops if op.kind in _PRODUCTS]
    if len(products) != 1 or products[0].inputs[0].name not in inputs:
        return False
    (op,) = products
    if is_constant(op.inputs[0]) or not all(map(is_constant, op.inputs[1:])):
        return False
    if op.kind == "Conv":
        geometry = Geometry(batch.of_one(op))
        return not batch.has_batch(op) and geometry.groups == 1 and geometry.x[0] >= lanes // 2
    left, right, _, pairs = pairs_of(op)
    return not left.turned and len(pairs) == 1 and right.rows >= lanes


def convolution(builder: Builder, fused: Fused, precision: Precision) -> None:
    """Adds the steps of a convolution."""
    op, lanes, geometry = fused.op, builder.lanes, Geometry(fused.op)
    outputs, height, width = geometry.y
    source = builder.padded(builder.image(op.inputs[0]), geometry.reach)
    above, left, below, right = geometry.reach
    key = (op.inputs[0].name, precision, *geometry.reach)
    x = builder.rounded.get(key)
    if x is None:
        size = (source.height + above + below, source.width + left + right)
        x = builder.rounded[key] = _words(source.blocks, size, lanes, precision)

        def corner() -> dict[str, Value]:
            return {
                "x": (source, -above * source.row - left * lanes), "x_block": source.block,
                "x_row": source.row, "x_pixel": lanes,
            }  # fmt: skip

        _round(builder, op, precision, source, x, source.channels, corner)
    added, y = added_of(builder, fused), builder.image_of(fused.output)
    blocks = -(-outputs // lanes)
    taps = geometry.rows * geometry.columns
    products = x.blocks * x.lanes * taps
    likely = height * width if geometry.is_pointwise else width
    _, group = tile_of(likely, blocks, products, lanes, most_blocks=8 if likely == 1 else 4)
    low, high, function = limits(fused.function)

    def arguments() -> dict[str, Value]:
        flat = geometry.is_pointwise and y.is_dense and (added is None or added.is_dense)
        lines, line = (1, height * width) if flat else (height, width)
        return {
            **_numbers(
                builder, op, precision, lambda: weights_of(op, geometry),
                (geometry.x[0], taps), bias_of(op, outputs), group,
            ),
            "x": x, "y": y, "kind": int(TILES[precision]), "blocks": x.blocks,
            "rows": geometry.rows, "columns": geometry.columns, "height": lines, "width": line,
            "x_block": x.block, "x_row": geometry.high * x.row,
            "x_pixel": geometry.wide * x.lanes, "tap_row": geometry.dilated_high * x.row,
            "tap_column": geometry.dilated_wide * x.lanes, "y_blocks": blocks,
            "y_block": y.block, "y_row": y.row, "y_pixel": lanes, "group": group,
            "pixels": pixels_of(line, min(group, blocks), products, lanes), "low": low,
            "high": high, **sum_arguments(added), **activation_arguments(function),
        }  # fmt: skip

    builder.add("convolution", (x, added), y, arguments)


def product(builder: Builder, fused: Fused, precision: Precision) -> None:
    """Adds the steps of Gemm or MatMul: rows with one constant matrix."""
    op, lanes = fused.op, builder.lanes
    left, right, rows, _ = pairs_of(op)
    k, n = right.rows, right.columns
    blocks = -(-n // lanes)
    source = rows_of(builder, left)
    assert isinstance(source, Tensor)
    x = _words(-(-k // lanes), (1, rows), lanes, precision)
    _round(
        builder, op, precision, source, x, k,
        lambda: {"x": source, "x_block": lanes, "x_pixel": k},
    )  # fmt: skip
    y = builder.plain_of(fused.output)
    products = x.blocks * x.lanes
    _, group = tile_of(rows, blocks, products, lanes, most_blocks=8 if rows == 1 else 4)
    alpha = np.float32(op.attributes.get("alpha", 1.0))
    low, high, function = limits(fused.function)

    def weights() -> Array:
        return np.ascontiguousarray(right.arrays()[0].T * alpha)[:, :, None, None]

    def arguments() -> dict[str, Value]:
        return {
            **_numbers(builder, op, precision, weights, (k, 1), row_bias(op, n), group),
            "x": x, "y": y, "kind": int(TILES[precision]), "blocks": x.blocks, "rows": 1,
            "columns": 1, "height": 1, "width": rows, "x_block": x.block, "x_pixel": x.lanes,
            "y_blocks": blocks, "y_block": lanes, "y_pixel": n,
            "tail": n % lanes if rows > 1 else 0, "group": group,
            "pixels": pixels_of(rows, min(group, blocks), products, lanes), "low": low,
            "high": high, **activation_arguments(function),
        }  # fmt: skip

    builder.add("convolution", (x,), y, arguments, lambda: 1024 if n % lanes else 0)


def _words(blocks: int, size: tuple[int, int], lanes: int, precision: Precision) -> Image:
    """An image of words: its "channels" are words."""
    words = lanes // _IN_WORD[precision]
    return Image(channels=blocks * words, height=size[0], width=size[1], lanes=words)


def _round(
    builder: Builder,
    op: Op,
    precision: Precision,
    source: Tensor,
    made: Image,
    channels: int,
    places: Callable[[], Mapping[str, Value]],
) -> None:
    """Adds the step that rounds what a product reads."""

    def arguments() -> dict[str, Value]:
        found: dict[str, Value] = {
            **places(),
            "y": made, "kind": int(TILES[precision]), "channels": channels,
            "blocks": made.blocks, "height": made.height, "width": made.width,
        }  # fmt: skip
        if precision is Precision.INT8:
            scale = _scale(builder, op)
            found |= {"scale": 1 / float(scale.scale), "zero": scale.zero_point}
        return found

    builder.add("narrow", (source,), made, arguments)


def _scale(builder: Builder, op: Op) -> Scale:
    """The scale of what a product reads.

    Raises:
        BuildError: There is no calibration, or it lacks the range.
    """
    if builder.calibration is None:
        raise BuildError("int8 needs a calibration", hint="give --calibration DIR|FILE.npz")
    return Scale.of_range(*builder.calibration.range(str(op.inputs[0].name)))


def _numbers(
    builder: Builder,
    op: Op,
    precision: Precision,
    weights: Callable[[], Array],
    inputs: tuple[int, int],
    bias: Array,
    group: int,
) -> dict[str, Value]:
    """The constants of a product: weights in the order of tiles, and what is added and multiplied.

    Args:
        builder: The builder.
        op: The product.
        precision: The precision.
        weights: A function that gives the weights (outputs, inputs, rows, columns), called only
            where no file has them yet.
        inputs: The numbers of inputs, and of places in the window.
        bias: What is added to each output.
        group: The blocks of outputs that tiles hold.
    """
    lanes, outputs = builder.lanes, len(bias)
    key: tuple[Hashable, ...] = (op.inputs[1].name, str(precision), lanes, group)
    size = -(-outputs // lanes) * -(-inputs[0] // lanes) * inputs[1]
    size *= lanes * lanes // _IN_WORD[precision]
    if precision is Precision.BF16:
        packed = Packed(
            key=key, size=size, make=lambda: [pack_words(_halves(weights()), lanes, group)]
        )
        return {"w": packed, "b": pack_channels(bias, lanes, outputs)}
    data = _scale(builder, op)
    key = (*key, float(data.scale), data.zero_point)

    def integers() -> tuple[NDArray[np.int8], Array]:
        return quantize_weight(weights(), 0, data.scale, bias)

    if key not in builder.steps_of_int8:
        whole, scales = integers()
        exact = scales.astype(np.float64) * float(data.scale)
        sums = whole.sum(axis=(1, 2, 3), dtype=np.int64)
        added = bias - exact * (data.zero_point - builder.byte_offset) * sums
        builder.steps_of_int8[key] = exact.astype(np.float32), added.astype(np.float32)
    steps, shifted = builder.steps_of_int8[key]
    packed = Packed(key=key, size=size, make=lambda: [pack_words(integers()[0], lanes, group)])
    return {
        "w": packed, "scale": pack_channels(steps, lanes, outputs),
        "b": pack_channels(shifted, lanes, outputs),
    }  # fmt: skip


def _halves(values: Array) -> NDArray[np.uint16]:
    """The nearest bfloat16s; of two, the even one."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def pack_words(weights: NDArray[np.int8] | NDArray[np.uint16], lanes: int, group: int) -> Array:
    """Weights (outputs, inputs, rows, columns) of few bits, as words.

    Each group of blocks of outputs: [block of inputs][row][column][word][outputs of the group].
    """
    outputs, inputs, *window = weights.shape
    in_word = 4 // weights.itemsize
    blocks, in_blocks = -(-outputs // lanes), -(-inputs // lanes)
    padded = np.zeros((blocks * lanes, in_blocks * lanes, *window), weights.dtype)
    padded[:outputs, :inputs] = weights
    parts, start = [], 0
    for size in cut(blocks, group):
        part = padded[start * lanes : (start + size) * lanes]
        part = part.reshape(size * lanes, in_blocks, lanes // in_word, in_word, *window)
        ordered = np.ascontiguousarray(part.transpose(1, 4, 5, 2, 0, 3))
        parts.append(ordered.reshape(-1).view(np.float32))
        start += size
    return np.concatenate(parts)
