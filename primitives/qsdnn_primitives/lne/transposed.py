"""Transposed convolutions as direct ones: one for each place of the output within the strides.

The outputs of one phase, which are a stride apart, read the same taps of the window, and these lie
evenly over neighbouring inputs: that is a convolution of stride one whose pixels are written apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

import numpy as np

from qsdnn_primitives.lne.activation import limits
from qsdnn_primitives.lne.arguments import activation_arguments
from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.kernel import Tile
from qsdnn_primitives.lne.packing import (
    Array,
    join_groups,
    joined_groups,
    pack_channels,
    pack_tiles,
)
from qsdnn_primitives.lne.program import Packed, Value
from qsdnn_primitives.lne.shape import passes, pixels_of, tile_of
from qsdnn_primitives.lne.tensor import Image
from qsdnn_primitives.lne.tiles import is_half
from qsdnn_primitives.lne.values import bias_of, constant_of, image_shape
from qsdnn_primitives.plain.node import Op, UnsupportedError, static_shape

_MOST_STEPS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """The outputs of one dimension that are a stride apart.

    Attributes:
        start: The first of them.
        count: The number of them.
        taps: The taps of the window that they read, by rising input.
        first: The input that the first output reads by the first tap; it may be in the padding.
        dilation: The inputs from one tap to the next.
    """

    start: int
    count: int
    taps: tuple[int, ...]
    first: int
    dilation: int

    @property
    def last(self) -> int:
        """The input that the last output reads by the last tap."""
        return self.first + (len(self.taps) - 1) * self.dilation + self.count - 1


def phases(out: int, kernel: int, stride: int, dilation: int, begin: int) -> list[Phase]:
    """The phases of a dimension.

    Args:
        out: The size of the output.
        kernel: The taps of the window.
        stride: The outputs from one input to the next.
        dilation: The outputs from one tap to the next.
        begin: The padding, which is cut off the output, before its first element.
    """
    found = []
    for start in range(min(stride, out)):
        taps = [k for k in range(kernel) if (start + begin - k * dilation) % stride == 0][::-1]
        first = (start + begin - taps[0] * dilation) // stride if taps else 0
        found.append(
            Phase(
                start=start, count=-(-(out - start) // stride), taps=tuple(taps), first=first,
                dilation=dilation // gcd(dilation, stride),
            )
        )  # fmt: skip
    return found


def convolution(builder: Builder, fused: Fused) -> None:
    """Adds the steps of a ConvTranspose."""
    op, lanes = fused.op, builder.lanes
    tall, broad = _phases(op)
    (inputs, x_height, x_width), (outputs, _, _) = (
        image_shape(value) for value in (op.inputs[0], op.outputs[0])
    )
    groups = int(op.attributes["group"])
    joined = joined_groups(groups, inputs // groups, outputs // groups, lanes)
    if groups // joined * len(tall) * len(broad) > _MOST_STEPS:
        raise UnsupportedError("its strides are too large")
    x = builder.padded(builder.image(op.inputs[0]), (
        max(-min(rows.first for rows in tall), 0),
        max(-min(columns.first for columns in broad), 0),
        max(max(rows.last for rows in tall) - x_height + 1, 0),
        max(max(columns.last for columns in broad) - x_width + 1, 0),
    ))  # fmt: skip
    added = None if fused.added is None else builder.image(fused.added)
    y = builder.image_of(fused.output)
    for group in range(groups // joined):
        for rows in tall:
            for columns in broad:
                _add_phase(builder, fused, (x, added, y), (group, joined), rows, columns)


def _phases(op: Op) -> tuple[list[Phase], list[Phase]]:
    """The phases of rows and of columns; one dimension counts as a row."""
    kernel = static_shape(op.inputs[1])[2:]
    if len(kernel) > 2:
        raise UnsupportedError(f"its window has {len(kernel)} dimensions")
    attributes = op.attributes
    sizes = static_shape(op.outputs[0])[2:]
    columns = zip(
        sizes, kernel, attributes["strides"], attributes["dilations"], attributes["begins"],
        strict=True,
    )  # fmt: skip
    found = [phases(*(int(number) for number in column)) for column in columns]
    return (found[0], found[1]) if len(found) == 2 else (phases(1, 1, 1, 1, 0), found[0])


def _add_phase(
    builder: Builder,
    fused: Fused,
    images: tuple[Image, Image | None, Image],
    part: tuple[int, int],
    rows: Phase,
    columns: Phase,
) -> None:
    """Adds the step of one group and phase.

    Args:
        builder: The builder.
        fused: The convolution.
        images: The input, what is added or None, and the output.
        part: The group's number, and the groups of the operator that it joins.
        rows: The phase of the rows.
        columns: The phase of the columns.
    """
    op, lanes = fused.op, builder.lanes
    (x, added, y), (group, joined) = images, part
    groups = int(op.attributes["group"])
    inputs, outputs = (n // groups * joined for n in (x.channels, y.channels))
    strides = [1, *op.attributes["strides"]][-2:]
    low, high, function = limits(fused.function)
    taps = len(rows.taps) * len(columns.taps)
    blocks, start = -(-outputs // lanes), group * outputs // lanes
    _, size = tile_of(columns.count, blocks, inputs * taps, lanes)
    pixels = pixels_of(columns.count, min(size, blocks), inputs * taps, lanes)
    first = group * outputs
    bias = pack_channels(bias_of(op, y.channels)[first : first + outputs], lanes, outputs)

    def make() -> Iterator[Array]:
        whole = join_groups(_weights(op), groups, joined)[first : first + outputs]
        return pack_tiles(whole[:, :, rows.taps][..., columns.taps], lanes, size)

    weights = Packed(
        key=(op.inputs[1].name, "phase", lanes, size, group, rows.taps, columns.taps),
        size=blocks * lanes * inputs * taps,
        make=make,
    )

    def arguments() -> dict[str, Value]:
        def place(image: Image) -> tuple[Image, int]:
            at = start * image.block + rows.start * image.row + columns.start * lanes
            return image, at

        begin = group * inputs // lanes * x.block + rows.first * x.row + columns.first * lanes
        found: dict[str, Value] = {
            "x": (x, begin), "w": weights if taps else bias, "b": bias, "y": place(y),
            "kind": int(Tile.STRIDED), "blocks": inputs // lanes if taps else 0,
            "rest": inputs % lanes if taps else 0, "rows": len(rows.taps),
            "columns": len(columns.taps), "height": rows.count, "width": columns.count,
            "x_block": x.block, "x_row": x.row, "x_pixel": lanes,
            "tap_row": rows.dilation * x.row, "tap_column": columns.dilation * lanes,
            "y_blocks": blocks, "y_block": y.block, "y_row": strides[0] * y.row,
            "y_pixel": strides[1] * lanes, "pixels": pixels, "group": size,
            "half": is_half(outputs, lanes), "low": low, "high": high,
            **activation_arguments(function), **passes(
                pixels * lanes * x.blocks, rows.count * -(-columns.count // pixels),
                inputs // lanes if taps else 0, lanes * taps * min(size, blocks) * lanes,
                builder.l2_floats,
            ),
        }  # fmt: skip
        if added is not None:
            found |= {
                "r": place(added), "r_block": added.block, "r_row": strides[0] * added.row,
            }  # fmt: skip
        return found

    builder.add("convolution", (x, added), y, arguments)


def _weights(op: Op) -> Array:
    """The weights as a convolution has them: (outputs, inputs of a group, rows, columns)."""
    weights = constant_of(op.inputs[1])
    groups, (inputs, outputs, *window) = int(op.attributes["group"]), weights.shape
    turned = weights.reshape(groups, inputs // groups, outputs, *([1, *window][-2:]))
    return np.swapaxes(turned, 1, 2).reshape(groups * outputs, inputs // groups, *turned.shape[3:])
