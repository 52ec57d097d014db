"""Convolutions and matrix products as tiles, as Winograd's convolution, or depthwise."""

from __future__ import annotations

from qsdnn_primitives.lne.activation import limits
from qsdnn_primitives.lne.arguments import activation_arguments
from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.depthwise import PIXELS, SHAPES
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.kernel import Tile
from qsdnn_primitives.lne.packing import (
    Array,
    join_groups,
    joined_groups,
    pack_channels,
    pack_depthwise,
    pack_tiles,
    pack_winograd,
)
from qsdnn_primitives.lne.program import Packed, Value
from qsdnn_primitives.lne.shape import better_flat, chunk_of, part_of, passes, pixels_of, tile_of
from qsdnn_primitives.lne.tensor import Image
from qsdnn_primitives.lne.tiles import is_half
from qsdnn_primitives.lne.values import bias_of, constant_of, image_shape
from qsdnn_primitives.lne.winograd import TRANSFORMS
from qsdnn_primitives.plain.node import Op, UnsupportedError, static_shape

MANY = 4
"""The blocks of outputs from which it is faster to pick out the pixels of a strided product first:
all tiles then lie on one line."""


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
    def is_thinned(self) -> bool:
        """Whether each output pixel is a product of one input pixel, of which some are left out."""
        return (
            self.rows == self.columns == 1 < max(self.high, self.wide)
            and not self.above + self.left
            and self.y[1] == -(-self.x[1] // self.high)
            and self.y[2] == -(-self.x[2] // self.wide)
        )

    def thin(self) -> None:
        """The same for an input of the pixels alone that are read."""
        self.high = self.wide = 1
        self.x = (self.x[0], *self.y[1:])

    @property
    def winograd(self) -> tuple[int, ...]:
        """The tiles m of Winograd's convolution that fit the window."""
        plain = (self.high, self.wide, self.dilated_high, self.dilated_wide) == (1, 1, 1, 1)
        if not plain or self.rows != self.columns or self.groups > 1 or self.x[0] < 4:
            return ()
        return tuple(m for m, r in TRANSFORMS if r == self.rows)


def convolution(builder: Builder, fused: Fused, algorithm: str) -> None:
    """Adds the steps of a convolution."""
    geometry = Geometry(fused.op)
    if geometry.is_depthwise:
        _depthwise(builder, fused, geometry)
    elif algorithm.startswith("winograd"):
        _winograd(builder, fused, geometry, int(algorithm.split("-")[1]))
    else:
        _direct(builder, fused, geometry)


def weights_of(op: Op, geometry: Geometry) -> Array:
    """The weights (outputs, inputs of a group, rows, columns)."""
    weights = constant_of(op.inputs[1])
    return weights.reshape(*weights.shape[:2], geometry.rows, geometry.columns)


def added_of(builder: Builder, fused: Fused) -> Image | None:
    """The image that a convolution adds before its activation; None where there is none."""
    return None if fused.added is None else builder.image(fused.added)


def sum_arguments(added: Image | None) -> dict[str, Value]:
    """The arguments that tell where that image lies."""
    if added is None:
        return {}
    return {"r": added, "r_block": added.block, "r_row": added.row}


def _direct(builder: Builder, fused: Fused, geometry: Geometry) -> None:
    lanes, op = builder.lanes, fused.op
    inputs, outputs = geometry.x[0] // geometry.groups, geometry.y[0] // geometry.groups
    joined = joined_groups(geometry.groups, inputs, outputs, lanes)
    groups, inputs, outputs = geometry.groups // joined, joined * inputs, joined * outputs
    few = geometry.x[0] < lanes and not builder.has_image(op.inputs[0])
    columns = geometry.columns
    if few:  # a pixel's channels side by side: a row of the window is one run of them
        x = builder.interleaved(op.inputs[0], geometry.reach)
        if geometry.dilated_wide == 1:
            inputs, columns = columns * inputs, 1
    elif geometry.is_thinned and geometry.y[0] >= MANY * lanes:
        x = builder.thinned(op.inputs[0], geometry.high, geometry.wide)
        geometry.thin()
    else:
        x = builder.padded(builder.image(op.inputs[0]), geometry.reach)

    def weights(number: int) -> Array:
        """The weights of a group."""
        whole = join_groups(weights_of(op, geometry), geometry.groups, joined)
        part = whole[number * outputs : (number + 1) * outputs]
        if columns < geometry.columns:
            return part.transpose(0, 3, 1, 2).reshape(outputs, inputs, geometry.rows, 1)
        return part

    bias = bias_of(op, geometry.y[0])
    added, y = added_of(builder, fused), builder.image_of(fused.output)
    low, high, function = limits(fused.function)
    kind = Tile.STRIDED if few or geometry.wide > 1 else Tile.UNIT
    taps = inputs * geometry.rows * columns
    blocks = -(-outputs // lanes)
    _, height, width = geometry.y
    # The size of a tile's groups orders the weights, before it is known whether rows are apart.
    likely = height * width if geometry.is_pointwise else width
    _, group = tile_of(likely, blocks, taps, lanes, most_blocks=8 if likely == 1 else 4)
    y.keep_dense = geometry.is_pointwise and better_flat(width, taps)
    for number in range(groups):
        start = number * outputs // lanes
        biases = pack_channels(bias[number * outputs : (number + 1) * outputs], lanes, outputs)

        def arguments(
            number: int = number,
            biases: Array = biases,
            start: int = start,
            x_start: int = number * inputs // lanes,
        ) -> dict[str, Value]:
            tensors = [x, y] if added is None else [x, y, added]
            flat = geometry.is_pointwise and all(tensor.is_dense for tensor in tensors)
            lines, line = (1, height * width) if flat else (height, width)
            pixels = pixels_of(line, min(group, blocks), taps, lanes)
            begin = -geometry.above * x.row - geometry.left * x.lanes
            unit = pixels * geometry.high * x.lanes * x.blocks
            packed = Packed(
                key=(op.inputs[1].name, "tiles", lanes, group, few, number),
                size=blocks * lanes * taps,
                make=lambda: pack_tiles(weights(number), lanes, group),
            )
            found: dict[str, Value] = {
                "x": (x, x_start * x.block + begin), "w": packed, "b": biases,
                "y": (y, start * y.block), "kind": int(kind), "blocks": inputs // lanes,
                "rest": inputs % lanes, "rows": geometry.rows, "columns": columns,
                "height": lines, "width": line, "x_block": lanes if few else x.block,
                "x_row": geometry.high * x.row, "x_pixel": geometry.wide * x.lanes,
                "tap_row": geometry.dilated_high * x.row,
                "tap_column": geometry.dilated_wide * x.lanes, "y_blocks": blocks,
                "y_block": y.block, "y_row": y.row, "y_pixel": lanes, "pixels": pixels,
                "group": group, "half": is_half(outputs, lanes), "low": low, "high": high, **passes(
                    unit, lines * -(-line // pixels), inputs // lanes,
                    lanes * geometry.rows * columns * min(group, blocks) * lanes,
                    builder.l2_floats,
                ), **sum_arguments(added), **activation_arguments(function),
            }  # fmt: skip
            if added is not None and start:
                found["r"] = (added, start * added.block)
            return found

        builder.add("convolution", (x, added), y, arguments)


def _winograd(builder: Builder, fused: Fused, geometry: Geometry, m: int) -> None:
    lanes, r = builder.lanes, geometry.rows
    (inputs, _, _), (outputs, height, width) = geometry.x, geometry.y
    high, wide = -(-height // m), -(-width // m)
    x = builder.padded(builder.image(fused.op.inputs[0]), geometry.reach_of(high * m, wide * m))
    added, y = added_of(builder, fused), builder.image_of(fused.output)
    chunk = chunk_of(m, r, high * wide, inputs, outputs, builder.l2_floats)
    blocks = -(-outputs // lanes)
    pixels, group = tile_of(chunk, blocks, inputs, lanes)
    biases = pack_channels(bias_of(fused.op, outputs), lanes, outputs)
    least, most, function = limits(fused.function)

    def arguments() -> dict[str, Value]:
        packed = Packed(
            key=(fused.op.inputs[1].name, "winograd", lanes, group, m),
            size=(m + r - 1) ** 2 * blocks * lanes * inputs,
            make=lambda: [pack_winograd(weights_of(fused.op, geometry), lanes, group, m)],
        )
        return {
            "x": (x, -geometry.above * x.row - geometry.left * lanes), "w": packed, "b": biases,
            "y": y, "transform": TRANSFORMS.index((m, r)), "blocks": inputs // lanes,
            "rest": inputs % lanes, "height": height, "width": width, "x_block": x.block,
            "x_row": x.row, "y_blocks": blocks, "y_block": y.block, "y_row": y.row,
            "tiles_high": high, "tiles_wide": wide, "chunk": chunk, "pixels": pixels,
            "group": group, "half": is_half(outputs, lanes), "low": least, "high": most,
            "part": part_of(
                lanes * min(group, blocks) * lanes, inputs // lanes, -(-chunk // pixels)
            ), **sum_arguments(added),
            **activation_arguments(function),
        }  # fmt: skip

    def scratch() -> int:
        planes = (m + r - 1) ** 2
        lines = sum(n * chunk * lanes // 16 * 16 + 32 for n in (x.blocks, blocks))
        return planes * lines

    builder.add("winograd", (x, added), y, arguments, scratch)


def _depthwise(builder: Builder, fused: Fused, geometry: Geometry) -> None:
    lanes = builder.lanes
    x = builder.padded(builder.image(fused.op.inputs[0]), geometry.reach)
    added, y = added_of(builder, fused), builder.image_of(fused.output)
    biases = pack_channels(bias_of(fused.op, y.channels), lanes, y.channels)
    low, high, function = limits(fused.function)
    key = (geometry.rows, geometry.wide)
    square = geometry.rows == geometry.columns and geometry.dilated_wide == 1
    shape = SHAPES.index(key) if square and key in SHAPES else -1

    def arguments() -> dict[str, Value]:
        packed = pack_depthwise(weights_of(fused.op, geometry), lanes)
        return {
            "x": (x, -geometry.above * x.row - geometry.left * lanes), "w": packed, "b": biases,
            "y": y, "shape": shape, "rows": geometry.rows, "columns": geometry.columns,
            "blocks": y.blocks, "height": y.height, "width": y.width, "x_block": x.block,
            "x_row": geometry.high * x.row, "x_pixel": geometry.wide * lanes,
            "tap_row": geometry.dilated_high * x.row, "tap_column": geometry.dilated_wide * lanes,
            "y_block": y.block, "y_row": y.row, "pixels": PIXELS[lanes], "low": low,
            "high": high, **sum_arguments(added), **activation_arguments(function),
        }  # fmt: skip

    builder.add("depthwise", (x, added), y, arguments)
