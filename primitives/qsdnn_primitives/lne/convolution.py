"""Convolutions and matrix products as tiles, as Winograd's convolution, or depthwise."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from qsdnn_primitives.lne.activation import limits
from qsdnn_primitives.lne.builder import (
    Builder,
    activation_arguments,
    constant_of,
    image_shape,
)
from qsdnn_primitives.lne.depthwise import PIXELS, SHAPES
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.kernel import Tile
from qsdnn_primitives.lne.packing import (
    Array,
    merged,
    pack_channels,
    pack_depthwise,
    pack_tiles,
    pack_winograd,
)
from qsdnn_primitives.lne.program import Value
from qsdnn_primitives.lne.shape import band_of, chunk_of, pixels_of, tile_of
from qsdnn_primitives.lne.tensor import Image, Tensor
from qsdnn_primitives.lne.winograd import TRANSFORMS
from qsdnn_primitives.plain.node import Op, UnsupportedError, is_constant, static_shape


class Geometry:
    """A convolution of one image as numbers; one dimension counts as a row.

    Attributes:
        rows, columns: The taps of the window.
        high, wide: The strides.
        dilated_high, dilated_wide: The dilations.
        above, left: The padding.
        x: Channels, height and width of the input.
        y: The same of the output.
        groups: The number of groups.
    """

    def __init__(self, op: Op) -> None:
        window = static_shape(op.inputs[1])[2:]
        if not 1 <= len(window) <= 2:
            raise UnsupportedError(f"its window has {len(window)} dimensions")

        def pair(values: object) -> tuple[int, int]:
            found = [int(value) for value in values]  # type: ignore[attr-defined]
            return (found[0], found[1]) if len(found) == 2 else (self._one, found[0])

        self._one = 1
        self.rows, self.columns = pair(window)
        self.high, self.wide = pair(op.attributes["strides"])
        self.dilated_high, self.dilated_wide = pair(op.attributes["dilations"])
        self._one = 0
        self.above, self.left = pair(op.attributes["begins"])
        self.x, self.y = image_shape(op.inputs[0]), image_shape(op.outputs[0])
        self.groups = int(op.attributes["group"])

    @property
    def reach(self) -> tuple[int, int, int, int]:
        """The zeros that windows reach: above, left, below, right."""
        return self.reach_of(self.y[1], self.y[2])

    def reach_of(self, height: int, width: int) -> tuple[int, int, int, int]:
        """The zeros that windows reach for an output of some size."""
        below = (height - 1) * self.high + (self.rows - 1) * self.dilated_high + 1
        right = (width - 1) * self.wide + (self.columns - 1) * self.dilated_wide + 1
        return (
            self.above,
            self.left,
            max(below - self.above - self.x[1], 0),
            max(right - self.left - self.x[2], 0),
        )

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel has a window of its own."""
        return self.groups == self.x[0] == self.y[0] and self.groups > 1

    @property
    def is_pointwise(self) -> bool:
        """Whether each output pixel is a product of one input pixel in the same place."""
        return (
            self.rows == self.columns == self.high == self.wide == 1
            and not self.above + self.left
            and self.x[1:] == self.y[1:]
        )

    @property
    def winograd(self) -> tuple[int, ...]:
        """The tiles m of Winograd's convolution that fit the window."""
        plain = (self.high, self.wide, self.dilated_high, self.dilated_wide) == (1, 1, 1, 1)
        if not plain or self.rows != self.columns or self.groups > 1 or self.x[0] < 4:
            return ()
        return tuple(m for m, r in TRANSFORMS if r == self.rows)


def convolution(builder: Builder, fused: Fused, algorithm: str) -> None:
    """Adds the steps of a convolution."""
    op, geometry = fused.op, Geometry(fused.op)
    weights = constant_of(op.inputs[1])
    weights = weights.reshape(*weights.shape[:2], geometry.rows, geometry.columns)
    bias = np.zeros(geometry.y[0], np.float32)
    if len(op.inputs) > 2:
        bias = constant_of(op.inputs[2])
    if geometry.is_depthwise:
        _depthwise(builder, fused, geometry, weights, bias)
    elif algorithm.startswith("winograd"):
        _winograd(builder, fused, geometry, weights, bias, int(algorithm.split("-")[1]))
    else:
        _direct(builder, fused, geometry, weights, bias)


def _added(builder: Builder, fused: Fused) -> Image | None:
    return None if fused.added is None else builder.image(fused.added)


def _sum_arguments(added: Image | None) -> dict[str, Value]:
    if added is None:
        return {}
    return {"r": added, "r_block": added.block, "r_row": added.row, "r_pixel": added.lanes}


def _direct(
    builder: Builder, fused: Fused, geometry: Geometry, weights: Array, bias: Array
) -> None:
    lanes, op = builder.lanes, fused.op
    weights, groups = merged(weights, geometry.groups, lanes)
    is_planar = groups == 1 and geometry.x[0] < lanes and not builder.has_image(op.inputs[0])
    if is_planar:
        x = builder.planar(op.inputs[0], geometry.reach)
    else:
        x = builder.padded(builder.image(op.inputs[0]), geometry.reach)
    added, y = _added(builder, fused), builder.image_of(fused.output)
    outputs, inputs = geometry.y[0] // groups, weights.shape[1]
    low, high, function = limits(fused.function)
    kind = Tile.PLANAR
    if not is_planar:
        kind = {1: Tile.UNIT, 2: Tile.DOUBLE}.get(geometry.wide, Tile.STRIDED)
    taps = inputs * geometry.rows * geometry.columns
    blocks = -(-outputs // lanes)
    _, height, width = geometry.y
    # The size of a tile's groups orders the weights, before it is known whether rows are apart.
    likely = height * width if geometry.is_pointwise else width
    _, group = tile_of(likely, blocks, taps, lanes, most_blocks=8 if likely == 1 else 4)
    for number in range(groups):
        part = slice(number * outputs, (number + 1) * outputs)
        start = number * outputs // lanes
        biases = pack_channels(bias[part], lanes, outputs)

        def arguments(
            part: slice = part,
            biases: Array = biases,
            start: int = start,
            x_start: int = number * inputs // lanes,
        ) -> dict[str, Value]:
            tensors = [x, y] if added is None else [x, y, added]
            flat = geometry.is_pointwise and all(tensor.is_dense for tensor in tensors)
            rows, columns = (1, height * width) if flat else (height, width)
            pixels = pixels_of(columns, group, taps, lanes)
            begin = -geometry.above * x.row - geometry.left * x.lanes
            unit = pixels * geometry.high * x.lanes * x.blocks
            packed = pack_tiles(weights[part], lanes, group)
            found: dict[str, Value] = {
                "x": (x, x_start * x.block + begin), "w": packed, "b": biases,
                "y": (y, start * y.block), "kind": int(kind), "blocks": inputs // lanes,
                "rest": inputs % lanes, "rows": geometry.rows, "columns": geometry.columns,
                "height": rows, "width": columns,
                "x_block": x.block * (lanes if is_planar else 1),
                "x_row": geometry.high * x.row, "x_pixel": geometry.wide * x.lanes,
                "x_channel": x.block if is_planar else 1,
                "tap_row": geometry.dilated_high * x.row,
                "tap_column": geometry.dilated_wide * x.lanes, "y_blocks": blocks,
                "y_block": y.block, "y_row": y.row, "y_pixel": lanes, "pixels": pixels,
                "group": group, "low": low, "high": high,
                "band": band_of(unit, rows * -(-columns // pixels), builder.l2_floats),
                **_sum_arguments(added), **activation_arguments(function),
            }  # fmt: skip
            if added is not None and start:
                found["r"] = (added, start * added.block)
            return found

        builder.add("convolution", (x, added), y, arguments)


def _winograd(
    builder: Builder, fused: Fused, geometry: Geometry, weights: Array, bias: Array, m: int
) -> None:
    lanes, r = builder.lanes, geometry.rows
    (inputs, _, _), (outputs, height, width) = geometry.x, geometry.y
    high, wide = -(-height // m), -(-width // m)
    x = builder.padded(builder.image(fused.op.inputs[0]), geometry.reach_of(high * m, wide * m))
    added, y = _added(builder, fused), builder.image_of(fused.output)
    chunk = chunk_of(m, r, high * wide, inputs, outputs, builder.l2_floats)
    blocks = -(-outputs // lanes)
    pixels, group = tile_of(chunk, blocks, inputs, lanes)
    biases = pack_channels(bias, lanes, outputs)
    least, most, function = limits(fused.function)

    def arguments() -> dict[str, Value]:
        sums = _sum_arguments(added)
        sums.pop("r_pixel", None)
        packed = pack_winograd(weights, lanes, group, m)
        return {
            "x": (x, -geometry.above * x.row - geometry.left * lanes), "w": packed, "b": biases,
            "y": y, "transform": TRANSFORMS.index((m, r)), "blocks": inputs // lanes,
            "rest": inputs % lanes, "height": height, "width": width, "x_block": x.block,
            "x_row": x.row, "y_blocks": blocks, "y_block": y.block, "y_row": y.row,
            "tiles_high": high, "tiles_wide": wide, "chunk": chunk, "pixels": pixels,
            "group": group, "low": least, "high": most, **sums,
            **activation_arguments(function),
        }  # fmt: skip

    def scratch() -> int:
        planes = (m + r - 1) ** 2
        lines = sum(n * chunk * lanes // 16 * 16 + 32 for n in (x.blocks, blocks))
        return planes * lines

    builder.add("winograd", (x, added), y, arguments, scratch)


def _depthwise(
    builder: Builder, fused: Fused, geometry: Geometry, weights: Array, bias: Array
) -> None:
    lanes = builder.lanes
    x = builder.padded(builder.image(fused.op.inputs[0]), geometry.reach)
    added, y = _added(builder, fused), builder.image_of(fused.output)
    packed = pack_depthwise(weights, lanes)
    biases = pack_channels(bias, lanes, geometry.y[0])
    low, high, function = limits(fused.function)
    key = (geometry.rows, geometry.wide)
    square = geometry.rows == geometry.columns and geometry.dilated_wide == 1
    shape = SHAPES.index(key) if square and key in SHAPES else -1

    def arguments() -> dict[str, Value]:
        sums = _sum_arguments(added)
        sums.pop("r_pixel", None)
        return {
            "x": (x, -geometry.above * x.row - geometry.left * lanes), "w": packed, "b": biases,
            "y": y, "shape": shape, "rows": geometry.rows, "columns": geometry.columns,
            "blocks": y.blocks, "height": y.height, "width": y.width, "x_block": x.block,
            "x_row": geometry.high * x.row, "x_pixel": geometry.wide * lanes,
            "tap_row": geometry.dilated_high * x.row, "tap_column": geometry.dilated_wide * lanes,
            "y_block": y.block, "y_row": y.row, "pixels": PIXELS[lanes], "low": low,
            "high": high, **sums, **activation_arguments(function),
        }  # fmt: skip

    builder.add("depthwise", (x, added), y, arguments)


def product(builder: Builder, fused: Fused) -> None:
    """Adds the steps of Gemm or MatMul of rows (m, k) with a constant matrix (k, n)."""
    op = fused.op
    if not is_constant(op.inputs[1]):
        _between_rows(builder, fused)
        return
    shape, weights = static_shape(op.inputs[0]), constant_of(op.inputs[1])
    if op.attributes.get("transB"):
        weights = weights.T
    if weights.ndim != 2 or is_constant(op.inputs[0]):
        raise UnsupportedError("it is not a product of rows and one matrix")
    k, n = weights.shape
    if op.attributes.get("transA") and 1 not in shape:
        raise UnsupportedError("it transposes its rows")
    weights = weights * np.float32(op.attributes.get("alpha", 1.0))
    x, y = builder.plain(op.inputs[0]), builder.plain_of(fused.output)
    rows = prod(shape) // k
    blocks = -(-n // builder.lanes)
    _, group = tile_of(rows, blocks, k, builder.lanes, most_blocks=8 if rows == 1 else 4)
    columns = np.ascontiguousarray(weights.T)[:, :, None, None]
    _rows(
        builder, fused, (x, 0), (y, 0), rows, k, n, group,
        lambda: pack_tiles(columns, builder.lanes, group), _bias(op, n),
    )  # fmt: skip


def _bias(op: Op, n: int) -> Array:
    """What Gemm adds to each row."""
    if len(op.inputs) < 3:
        return np.zeros(n, np.float32)
    added = constant_of(op.inputs[2]) * np.float32(op.attributes.get("beta", 1.0))
    if added.size not in (1, n) or (added.ndim == 2 and added.shape[0] != 1):
        raise UnsupportedError("it adds a matrix")
    return np.broadcast_to(added.reshape(-1), (n,)).astype(np.float32)


def _between_rows(builder: Builder, fused: Fused) -> None:
    """Adds the steps of a product of two activations, as in attention: pair after pair."""
    op = fused.op
    left, right = static_shape(op.inputs[0]), static_shape(op.inputs[1])
    if op.kind != "MatMul" or is_constant(op.inputs[0]) or left[:-2] != right[:-2] or len(left) < 2:
        raise UnsupportedError("it is not a product of pairs of matrices")
    pairs, (rows, k), n = prod(left[:-2]), left[-2:], right[-1]
    if pairs > _MOST_PAIRS:
        raise UnsupportedError(f"it has {pairs} products")
    x, z = builder.plain(op.inputs[0]), builder.plain(op.inputs[1])
    y = builder.plain_of(fused.output)
    blocks = -(-n // builder.lanes)
    _, group = tile_of(rows, blocks, k, builder.lanes)
    for pair in range(pairs):
        packed = builder.new_plain((k, blocks * builder.lanes))

        def columns(packed: Tensor = packed, start: int = pair * k * n) -> dict[str, Value]:
            return {
                "x": (z, start), "y": packed, "k": k, "n": n, "x_row": n, "x_column": 1,
                "group": group,
            }  # fmt: skip

        builder.add("pack_columns", (z,), packed, columns)
        _rows(
            builder, fused, (x, pair * rows * k), (y, pair * rows * n), rows, k, n, group,
            lambda packed=packed: packed, np.zeros(n, np.float32), packed,
        )  # fmt: skip


_MOST_PAIRS = 64


def _rows(
    builder: Builder,
    fused: Fused,
    x: tuple[Tensor, int],
    y: tuple[Tensor, int],
    rows: int,
    k: int,
    n: int,
    group: int,
    weights: Callable[[], Value],
    bias: Array,
    read: Tensor | None = None,
) -> None:
    """Adds a product of rows (rows, k) with packed columns (k, n)."""
    lanes = builder.lanes
    blocks = -(-n // lanes)
    low, high, function = limits(fused.function)
    pixels = pixels_of(rows, min(group, blocks), k, lanes)

    def arguments() -> dict[str, Value]:
        return {
            "x": x, "w": weights(), "b": pack_channels(bias, lanes, n), "y": y,
            "kind": int(Tile.STRIDED), "blocks": k // lanes, "rest": k % lanes, "rows": 1,
            "columns": 1, "height": 1, "width": rows, "x_block": lanes, "x_pixel": k,
            "x_channel": 1, "y_blocks": blocks, "y_block": lanes, "y_pixel": n,
            "tail": n % lanes if rows > 1 or read is not None else 0, "pixels": pixels,
            "group": group, "low": low, "high": high,
            "band": band_of(pixels * k, -(-rows // pixels), builder.l2_floats),
            **activation_arguments(function),
        }  # fmt: skip

    builder.add("convolution", (x[0], read), y[0], arguments, lambda: 1024)
