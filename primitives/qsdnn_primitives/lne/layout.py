"""Operators that move elements and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from qsdnn_primitives.lne import channels, resampling
from qsdnn_primitives.lne.arguments import move_arguments
from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.program import Value, Weights
from qsdnn_primitives.lne.selection import Numbers, chosen
from qsdnn_primitives.lne.tensor import Tensor
from qsdnn_primitives.lne.values import constant_of, is_image
from qsdnn_primitives.plain.node import UnsupportedError, is_constant, static_shape

_RANK = 6


def reshape(builder: Builder, fused: Fused) -> None:
    """A value under another shape: the same memory."""
    source = fused.op.inputs[0]
    form = builder.blocked(source)
    if form is not None:
        builder.take(fused.output, form)
    if form is None or builder.has_plain(source):
        builder.take(fused.output, builder.plain(source))


def concat(builder: Builder, fused: Fused) -> None:
    """Concat: of channels in blocks by writing them beside one another, else by copies."""
    op = fused.op
    axis, shape = int(op.attributes["axis"]), static_shape(fused.output)
    images = [builder.has_image(value) for value in op.inputs]
    sizes = [static_shape(value)[axis] for value in op.inputs]
    aligned = any(images) and all(n % builder.lanes == 0 for n in sizes[:-1])
    in_blocks = (aligned or all(images)) and not any(map(is_constant, op.inputs))
    if is_image(shape) and axis == 1 and in_blocks:
        parts = [builder.channels(value) for value in op.inputs]
        builder.take(fused.output, channels.join(builder, parts))
        return
    places = [
        constant_of(value) if is_constant(value) else builder.plain(value) for value in op.inputs
    ]
    y = builder.plain_of(fused.output)
    inner = prod(shape[axis + 1 :])
    start = 0
    for place, size in zip(places, sizes, strict=True):
        _move(
            builder, place, y, (prod(shape[:axis]), size * inner),
            (size * inner, 1), (shape[axis] * inner, 1), 0, start * inner,
        )  # fmt: skip
        start += size


def split(builder: Builder, fused: Fused) -> None:
    """Split: of an image's channels in blocks, else by copies."""
    op, source = fused.op, fused.op.inputs[0]
    axis, shape = int(op.attributes["axis"]), static_shape(source)
    in_blocks = axis == 1 and builder.has_image(source)
    inner, start = prod(shape[axis + 1 :]), 0
    for output in op.outputs:
        size = static_shape(output)[axis]
        if in_blocks:
            numbers = np.arange(start, start + size)
            builder.take(output, chosen(builder.channels(source), numbers))
        else:
            x, y = builder.plain(source), builder.plain_of(output)
            _move(
                builder, x, y, (prod(shape[:axis]), size * inner), (shape[axis] * inner, 1),
                (size * inner, 1), start * inner, 0,
            )  # fmt: skip
        start += size


def transpose(builder: Builder, fused: Fused) -> None:
    """Transpose: of an image's channels in blocks, else by copies."""
    op = fused.op
    form = builder.blocked(op.inputs[0])
    if form is not None and channels.to_last(builder, fused, form):
        return
    if form is not None and channels.transposed(builder, fused, form):
        return
    if form is None and channels.to_first(builder, fused):
        return
    shape, perm = tuple(op.attributes["shape"]), list(op.attributes["perm"])
    strides = _strides(shape)
    sizes = tuple(shape[axis] for axis in perm)
    x, y = builder.plain(op.inputs[0]), builder.plain_of(fused.output)
    _move(builder, x, y, sizes, [strides[axis] for axis in perm], _strides(sizes), 0, 0)


def crop(builder: Builder, fused: Fused) -> None:
    """Slice: of an image in blocks where columns follow one another, else by copies."""
    op, shape = fused.op, static_shape(fused.op.inputs[0])
    starts, steps = list(op.attributes["starts"]), list(op.attributes["steps"])
    sizes = static_shape(fused.output)
    along = steps[1:2] == [1] and (len(shape) == 2 or steps[-1] == 1)
    if builder.has_image(op.inputs[0]) and along:
        _crop_image(builder, fused, starts[1:], steps[-2] if len(shape) == 4 else 1)
        return
    strides = _strides(shape)
    begin = sum(start * stride for start, stride in zip(starts, strides, strict=True))
    x, y = builder.plain(op.inputs[0]), builder.plain_of(fused.output)
    taken = [step * stride for step, stride in zip(steps, strides, strict=True)]
    _move(builder, x, y, sizes, taken, _strides(sizes), begin, 0)


def _crop_image(builder: Builder, fused: Fused, starts: list[int], step: int) -> None:
    """Channels and columns that follow one another, and rows some steps apart."""
    source, count = fused.op.inputs[0], static_shape(fused.output)[1]
    selection = chosen(builder.channels(source), np.arange(starts[0], starts[0] + count))
    if static_shape(fused.output)[2:] == static_shape(fused.op.inputs[0])[2:] and step == 1:
        builder.take(fused.output, selection)
        return
    part = builder.together(selection)
    top, left = ([0, *starts[1:]])[-2:]
    made = builder.image_of(fused.output)
    builder.add("copy", (part,), made, lambda: {
        "x": (part, top * part.row + left * part.lanes), "y": made, "blocks": made.blocks,
        "height": made.height, "width": made.width * made.lanes, "x_block": part.block,
        "x_row": step * part.row, "y_block": made.block, "y_row": made.row,
    })  # fmt: skip


def pad(builder: Builder, fused: Fused) -> None:
    """Pad with a constant."""
    op, shape = fused.op, static_shape(fused.op.inputs[0])
    sizes = static_shape(fused.output)
    x, y = builder.plain(op.inputs[0]), builder.plain_of(fused.output)
    value, total = float(op.attributes["value"]), prod(sizes)
    builder.add("fill", (), y, lambda: {"y": y, "count": total, "value": value})
    made = _strides(sizes)
    begin = sum(n * stride for n, stride in zip(op.attributes["begins"], made, strict=True))
    _move(builder, x, y, shape, _strides(shape), made, 0, begin)


def pad_indexed(builder: Builder, fused: Fused) -> None:
    """Pad with the edge or the reflection: of rows and columns in blocks, else by copies."""
    op, shape = fused.op, static_shape(fused.op.inputs[0])
    attributes = op.attributes
    widths = list(zip(attributes["begins"], attributes["ends"], strict=True))
    places = [
        np.pad(np.arange(size), width, mode=attributes["mode"])
        for size, width in zip(shape, widths, strict=True)
    ]
    if builder.has_image(op.inputs[0]) and len(shape) > 2 and not any(map(any, widths[:2])):
        rows, columns = ([np.zeros(1, np.int64), *places[2:]])[-2:]
        resampling.resample(builder, fused, resampling.copied(rows), resampling.copied(columns))
        return
    x = builder.plain(op.inputs[0])
    for axis, width in enumerate(widths):
        if any(width):
            made = (*shape[:axis], len(places[axis]), *shape[axis + 1 :])
            y = builder.new_plain(made)
            _gather(builder, x, y, shape, axis, places[axis])
            x, shape = y, made
    builder.take(fused.output, x)


def gather(builder: Builder, fused: Fused) -> None:
    """Gather of constant numbers: of an image's channels in blocks, else by copies."""
    op, shape = fused.op, static_shape(fused.op.inputs[0])
    axis, numbers = int(op.attributes["axis"]), _numbers(op.inputs[1])
    if min(numbers) < -shape[axis] or max(numbers) >= shape[axis]:
        raise UnsupportedError("it gathers what is not there")
    numbers %= shape[axis]
    source = op.inputs[0]
    if axis == 1 and builder.has_image(source) and len(static_shape(op.inputs[1])) == 1:
        builder.take(fused.output, chosen(builder.channels(source), numbers))
        return
    x, y = builder.plain(source), builder.plain_of(fused.output)
    _gather(builder, x, y, shape, axis, numbers)


def _numbers(value: ir.Value) -> Numbers:
    if not is_constant(value) or value.const_value is None:
        raise UnsupportedError("what it gathers is not constant")
    return value.const_value.numpy().reshape(-1).astype(np.int64)


def _gather(
    builder: Builder,
    x: Tensor,
    y: Tensor,
    shape: tuple[int, ...],
    axis: int,
    numbers: Numbers,
) -> None:
    """Adds a step that writes slices of a dimension in the order of their numbers."""
    found: dict[str, Value] = {
        "x": x, "places": numbers.astype(np.float32), "y": y, "outer": prod(shape[:axis]),
        "n": len(numbers), "x_n": shape[axis], "inner": prod(shape[axis + 1 :]),
    }  # fmt: skip
    builder.add("gather", (x,), y, lambda: found)


def expand(builder: Builder, fused: Fused) -> None:
    """Expand."""
    own, sizes = static_shape(fused.op.inputs[0]), static_shape(fused.output)
    padded = (1,) * (len(sizes) - len(own)) + own
    strides = [0 if n == 1 else prod(padded[axis + 1 :]) for axis, n in enumerate(padded)]
    x, y = builder.plain(fused.op.inputs[0]), builder.plain_of(fused.output)
    _move(builder, x, y, sizes, strides, _strides(sizes), 0, 0)


def _strides(shape: tuple[int, ...]) -> list[int]:
    return [prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _move(
    builder: Builder,
    x: Tensor | Weights,
    y: Tensor,
    sizes: tuple[int, ...],
    x_strides: Sequence[int],
    y_strides: Sequence[int],
    x_start: int,
    y_start: int,
) -> None:
    """Adds a step that moves elements; dimensions that run on as one are made one."""
    dims: list[tuple[int, int, int]] = []
    for size, of_x, of_y in zip(sizes, x_strides, y_strides, strict=True):
        if size == 1:
            continue
        if dims and dims[-1][1] == of_x * size and dims[-1][2] == of_y * size:
            dims[-1] = (dims[-1][0] * size, of_x, of_y)
        else:
            dims.append((size, of_x, of_y))
    if len(dims) > _RANK:
        raise UnsupportedError(f"it moves {len(dims)} dimensions")
    dims = [(1, 0, 0)] * (_RANK - len(dims)) + dims
    found = move_arguments((x, x_start), (y, y_start), dims)
    builder.add("move", (x,) if isinstance(x, Tensor) else (), y, lambda: found)
