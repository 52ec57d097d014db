"""Operators that move whole channels of blocked images, and leave them in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from qsdnn_primitives.lne.builder import Builder, move_arguments
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.packing import pack_channels
from qsdnn_primitives.lne.program import Value
from qsdnn_primitives.lne.tensor import Image, Tensor

Numbers = NDArray[np.int64]


def part(builder: Builder, image: Image, first: int, channels: int) -> Image:
    """Channels that follow one another: a part of the image where a block begins, else a copy."""
    if first % image.lanes == 0:
        return Image(
            channels=channels, height=image.height, width=image.width, lanes=image.lanes,
            parent=image, start=first // image.lanes,
        )  # fmt: skip
    made = builder.new_image(channels, image.height, image.width)
    pick(builder, image, np.arange(first, first + channels), made)
    return made


def join(builder: Builder, parts: Sequence[Image], whole: Image) -> None:
    """Makes images the channels of a whole.

    They are written beside one another, each from a block on; where one ends within a block, a
    step brings them together.
    """
    lanes = whole.lanes
    aligned = all(image.channels % lanes == 0 for image in parts[:-1])
    places = np.cumsum([0, *(image.blocks for image in parts)])
    beside = whole
    if not aligned:
        beside = builder.new_image(int(places[-1]) * lanes, whole.height, whole.width)
    for image, start in zip(parts, places, strict=False):
        _put(builder, image, beside, int(start))
    if not aligned:
        numbers = [n * lanes + np.arange(p.channels) for n, p in zip(places, parts, strict=False)]
        pick(builder, beside, np.concatenate(numbers), whole)


def _put(builder: Builder, image: Image, whole: Image, start: int) -> None:
    """Makes an image a part of a whole, or copies it there if its memory is not its own."""
    if not (image.rigid or image.parent is not None or image.buffer):
        whole.need(*image.halo)
        image.parent, image.start = whole, start
        return
    made = Image(
        channels=image.channels, height=image.height, width=image.width, lanes=image.lanes,
        parent=whole, start=start,
    )  # fmt: skip
    builder.copy_image(image, made)


def transposed(builder: Builder, fused: Fused, image: Image) -> bool:
    """Adds a transposition whose input is an image with its channels as several dimensions.

    Channels may change places among themselves, as in a shuffle, or become rows and columns, as
    in DepthToSpace. Returns whether it is one of these.
    """
    shape, perm = tuple(fused.op.attributes["shape"]), list(fused.op.attributes["perm"])
    high, wide = len(shape) - 2, len(shape) - 1
    if shape[high:] != (image.height, image.width) or prod(shape[:high]) != image.channels:
        return False
    row, column = perm.index(high), perm.index(wide)
    if row > column:
        return False
    outer, rows, columns = perm[:row], perm[row + 1 : column], perm[column + 1 :]
    sizes = [prod(shape[axis] for axis in axes) for axes in (outer, rows, columns)]
    numbers = np.arange(image.channels).reshape(shape[:high])
    numbers = numbers.transpose(*outer, *rows, *columns).reshape(sizes)
    channels, tall, broad = sizes
    made = builder.new_image(channels, image.height * tall, image.width * broad)
    for i in range(tall):
        for j in range(broad):
            pick(builder, image, numbers[:, i, j], made, (tall, broad), (i, j))
    builder.take(fused.output, made)
    return True


def to_last(builder: Builder, fused: Fused, image: Image) -> bool:
    """Adds a transposition that makes an image's channels the last dimension, if it is one.

    Each block is a run of numbers of each pixel.
    """
    shape, perm = tuple(fused.op.attributes["shape"]), list(fused.op.attributes["perm"])
    rank, pixels = len(shape), image.height * image.width
    if rank < 3 or perm != [0, *range(2, rank), 1] or builder.lanes == 1:
        return False
    if shape[:2] != (1, image.channels) or prod(shape[2:]) != pixels:
        return False
    made = builder.plain_of(fused.output)
    _runs(builder, image, image, made, image_first=True)
    return True


def to_first(builder: Builder, fused: Fused) -> bool:
    """Adds a transposition that makes the last dimension an image's channels, if it is one."""
    shape, perm = tuple(fused.op.attributes["shape"]), list(fused.op.attributes["perm"])
    rank = len(shape)
    if rank not in (3, 4) or perm != [0, rank - 1, *range(1, rank - 1)] or builder.lanes == 1:
        return False
    if shape[0] != 1:
        return False
    source, image = builder.plain(fused.op.inputs[0]), builder.image_of(fused.output)
    _runs(builder, image, source, image, image_first=False)
    return True


def _runs(builder: Builder, image: Image, x: Tensor, y: Tensor, *, image_first: bool) -> None:
    """Adds the steps that move the blocks of an image from or to a tensor with channels last."""
    lanes, channels = builder.lanes, image.channels
    whole = channels // lanes
    for first, blocks, run in ((0, whole, lanes), (whole, 1, channels % lanes)):
        if not blocks or not run:
            continue

        def arguments(first: int = first, blocks: int = blocks, run: int = run) -> dict[str, Value]:
            blocked = (first * image.block, (0, 0, image.block, image.row, lanes, 1))
            last = (first * lanes, (0, 0, lanes, image.width * channels, channels, 1))
            (x_start, x_steps), (y_start, y_steps) = (
                (blocked, last) if image_first else (last, blocked)
            )
            sizes = (1, 1, blocks, image.height, image.width, run)
            dims = list(zip(sizes, x_steps, y_steps, strict=True))
            return move_arguments((x, x_start), (y, y_start), dims)

        builder.add("move", (x,), y, arguments)


def pick(
    builder: Builder,
    image: Image,
    numbers: Numbers,
    made: Image,
    steps: tuple[int, int] = (1, 1),
    start: tuple[int, int] = (0, 0),
) -> None:
    """Adds a step that writes the channels of some numbers, in that order.

    Args:
        builder: The builder.
        image: The image to read.
        numbers: The number of each channel.
        made: The image to write.
        steps: The rows and columns from one written pixel to the next.
        start: The row and the column of the first.
    """
    places = pack_channels(numbers.astype(np.float32), image.lanes, len(numbers))

    def arguments() -> dict[str, Value]:
        first = start[0] * made.row + start[1] * made.lanes
        return {
            "x": image, "channels": places, "y": (made, first), "blocks": made.blocks,
            "height": image.height, "width": image.width, "x_block": image.block,
            "x_row": image.row, "y_block": made.block, "y_row": steps[0] * made.row,
            "y_pixel": steps[1] * made.lanes,
        }  # fmt: skip

    builder.add("pick", (image,), made, arguments)
