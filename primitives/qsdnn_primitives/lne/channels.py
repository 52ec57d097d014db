"""Operators that move whole channels of blocked images, and leave them in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from qsdnn_primitives.lne.arguments import move_arguments
from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.program import Value
from qsdnn_primitives.lne.selection import Blocked, Selection, chosen
from qsdnn_primitives.lne.tensor import Image, Tensor


def join(builder: Builder, parts: Sequence[Blocked]) -> Blocked:
    """Images as the channels of a whole: beside one another, each from a block on.

    Where one ends within a block, the whole is a selection of what lies there.
    """
    lanes, counts = builder.lanes, [part.size_of_image[0] for part in parts]
    places = np.cumsum([0, *(-(-count // lanes) for count in counts)])
    _, height, width = parts[0].size_of_image
    aligned = all(count % lanes == 0 for count in counts[:-1])
    channels = sum(counts) if aligned else int(places[-1]) * lanes
    beside = builder.new_image(channels, height, width)
    for part, start in zip(parts, places, strict=False):
        _put(builder, part, beside, int(start))
    if aligned:
        return beside
    numbers = [n * lanes + np.arange(count) for n, count in zip(places, counts, strict=False)]
    return Selection(image=beside, numbers=np.concatenate(numbers))


def _put(builder: Builder, part: Blocked, whole: Image, start: int) -> None:
    """Makes an image a part of a whole, or copies it there if its memory is not its own."""
    if isinstance(part, Selection) and part.made is None and part.part is None:
        part.made = _room(part, whole, start)
        builder.pick(part.image, part.numbers, part.made)
        return
    image = builder.together(part)
    if not (image.rigid or image.parent is not None or image.buffer):
        whole.need(*image.halo)
        image.parent, image.start = whole, start
        return
    builder.copy_image(image, _room(image, whole, start))


def _room(part: Blocked, whole: Image, start: int) -> Image:
    """The blocks of a whole where a part of it goes."""
    channels, height, width = part.size_of_image
    return Image(
        channels=channels, height=height, width=width, lanes=whole.lanes, parent=whole, start=start
    )


def transposed(builder: Builder, fused: Fused, form: Blocked) -> bool:
    """Adds a transposition whose input is an image with its channels as several dimensions.

    Channels may change places among themselves, as in a shuffle, or become rows and columns, as
    in DepthToSpace. Returns whether it is one of these.
    """
    shape, perm = tuple(fused.op.attributes["shape"]), list(fused.op.attributes["perm"])
    high, wide = len(shape) - 2, len(shape) - 1
    if (prod(shape[:high]), *shape[high:]) != form.size_of_image:
        return False
    row, column = perm.index(high), perm.index(wide)
    if row > column:
        return False
    outer, rows, columns = perm[:row], perm[row + 1 : column], perm[column + 1 :]
    sizes = [prod(shape[axis] for axis in axes) for axes in (outer, rows, columns)]
    numbers = np.arange(prod(shape[:high])).reshape(shape[:high])
    numbers = numbers.transpose(*outer, *rows, *columns).reshape(sizes)
    channels, tall, broad = sizes
    if tall * broad == 1:
        builder.take(fused.output, chosen(form, numbers.reshape(-1)))
        return True
    made = builder.new_image(channels, shape[high] * tall, shape[wide] * broad)
    for i in range(tall):
        for j in range(broad):
            some = chosen(form, numbers[:, i, j])
            builder.pick(some.image, some.numbers, made, (tall, broad), (i, j))
    builder.take(fused.output, made)
    return True


def to_last(builder: Builder, fused: Fused, form: Blocked) -> bool:
    """Adds a transposition that makes an image's channels the last dimension, if it is one.

    Each block is a run of numbers of each pixel.
    """
    shape, perm = tuple(fused.op.attributes["shape"]), list(fused.op.attributes["perm"])
    rank, (channels, height, width) = len(shape), form.size_of_image
    if rank < 3 or perm != [0, *range(2, rank), 1] or builder.lanes == 1:
        return False
    if shape[:2] != (1, channels) or prod(shape[2:]) != height * width:
        return False
    image = builder.together(form)
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
