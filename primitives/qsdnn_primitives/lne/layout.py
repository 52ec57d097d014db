"""Operators that move elements and compute nothing."""

from __future__ import annotations

from math import prod

from qsdnn_primitives.lne.builder import Builder, image_shape, is_image
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.program import Value
from qsdnn_primitives.lne.tensor import Image, Tensor
from qsdnn_primitives.plain.node import UnsupportedError, is_constant, static_shape

_RANK = 6


def reshape(builder: Builder, fused: Fused) -> None:
    """A value under another shape: the same memory."""
    source = fused.op.inputs[0]
    same = is_image(static_shape(source)) and is_image(static_shape(fused.output))
    if same and builder.has_image(source) and image_shape(source) == image_shape(fused.output):
        builder.take(fused.output, builder.image(source))
        return
    builder.take(fused.output, builder.plain(source))


def concat(builder: Builder, fused: Fused) -> None:
    """Concat: of channels in blocks by writing them beside one another, else by copies."""
    op = fused.op
    if any(is_constant(value) for value in op.inputs):
        raise UnsupportedError("it has a constant")
    axis, shape = int(op.attributes["axis"]), static_shape(fused.output)
    lanes = builder.lanes
    images = [builder.has_image(value) for value in op.inputs]
    sizes = [static_shape(value)[axis] for value in op.inputs]
    if is_image(shape) and axis == 1 and any(images) and all(n % lanes == 0 for n in sizes[:-1]):
        _concat_blocks(builder, fused)
        return
    places = [builder.plain(value) for value in op.inputs]
    y = builder.plain_of(fused.output)
    inner = prod(shape[axis + 1 :])
    start = 0
    for place, size in zip(places, sizes, strict=True):
        _move(
            builder, place, y, (prod(shape[:axis]), size * inner),
            (size * inner, 1), (shape[axis] * inner, 1), 0, start * inner,
        )  # fmt: skip
        start += size


def _concat_blocks(builder: Builder, fused: Fused) -> None:
    whole = builder.image_of(fused.output)
    start = 0
    for value in fused.op.inputs:
        part = builder.image(value)
        own = not (part.rigid or part.parent is not None or part.buffer)
        if own and part is not whole:
            whole.need(*part.halo)
            part.parent, part.start = whole, start
        else:
            made = Image(
                channels=part.channels, height=part.height, width=part.width, lanes=part.lanes,
                parent=whole, start=start,
            )  # fmt: skip
            builder.copy_image(part, made)
        start += part.blocks


def split(builder: Builder, fused: Fused) -> None:
    """Split: parts of an image of whole blocks, else copies."""
    op = fused.op
    axis, shape = int(op.attributes["axis"]), static_shape(op.inputs[0])
    source = op.inputs[0]
    x = builder.plain(source)
    inner, start = prod(shape[axis + 1 :]), 0
    for output in op.outputs:
        size = static_shape(output)[axis]
        y = builder.plain_of(output)
        _move(
            builder, x, y, (prod(shape[:axis]), size * inner), (shape[axis] * inner, 1),
            (size * inner, 1), start * inner, 0,
        )  # fmt: skip
        start += size


def transpose(builder: Builder, fused: Fused) -> None:
    """Transpose."""
    op = fused.op
    shape, perm = tuple(op.attributes["shape"]), list(op.attributes["perm"])
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    sizes = tuple(shape[axis] for axis in perm)
    x, y = builder.plain(op.inputs[0]), builder.plain_of(fused.output)
    made = [prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    _move(builder, x, y, sizes, tuple(strides[axis] for axis in perm), tuple(made), 0, 0)


def crop(builder: Builder, fused: Fused) -> None:
    """Slice."""
    op, shape = fused.op, static_shape(fused.op.inputs[0])
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    starts, steps = op.attributes["starts"], op.attributes["steps"]
    sizes = static_shape(fused.output)
    begin = sum(start * stride for start, stride in zip(starts, strides, strict=True))
    x, y = builder.plain(op.inputs[0]), builder.plain_of(fused.output)
    taken = tuple(step * stride for step, stride in zip(steps, strides, strict=True))
    made = tuple(prod(sizes[axis + 1 :]) for axis in range(len(sizes)))
    _move(builder, x, y, sizes, taken, made, begin, 0)


def pad(builder: Builder, fused: Fused) -> None:
    """Pad with a constant."""
    op, shape = fused.op, static_shape(fused.op.inputs[0])
    sizes = static_shape(fused.output)
    x, y = builder.plain(op.inputs[0]), builder.plain_of(fused.output)
    value, total = float(op.attributes["value"]), prod(sizes)
    builder.add("fill", (), y, lambda: {"y": y, "count": total, "value": value})
    made = tuple(prod(sizes[axis + 1 :]) for axis in range(len(sizes)))
    begin = sum(n * stride for n, stride in zip(op.attributes["begins"], made, strict=True))
    own = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
    _move(builder, x, y, shape, own, made, 0, begin)


def expand(builder: Builder, fused: Fused) -> None:
    """Expand."""
    own, sizes = static_shape(fused.op.inputs[0]), static_shape(fused.output)
    padded = (1,) * (len(sizes) - len(own)) + own
    strides = tuple(0 if n == 1 else prod(padded[axis + 1 :]) for axis, n in enumerate(padded))
    made = tuple(prod(sizes[axis + 1 :]) for axis in range(len(sizes)))
    x, y = builder.plain(fused.op.inputs[0]), builder.plain_of(fused.output)
    _move(builder, x, y, sizes, strides, made, 0, 0)


def _move(
    builder: Builder,
    x: Tensor,
    y: Tensor,
    sizes: tuple[int, ...],
    x_strides: tuple[int, ...],
    y_strides: tuple[int, ...],
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
    found: dict[str, Value] = {"x": (x, x_start), "y": (y, y_start)}
    for axis, (size, of_x, of_y) in enumerate(dims):
        found |= {f"n{axis}": size, f"x{axis}": of_x, f"y{axis}": of_y}
    builder.add("move", (x,), y, lambda: found)
