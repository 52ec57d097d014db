"""Operators that move elements and compute nothing."""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from qsdnn_primitives.plain.node import NodeReader, Op, Shape, UnsupportedError, scalar_of


def reshape(node: NodeReader) -> Op:
    """Reshape, Flatten, Squeeze, Unsqueeze, Identity: the output's shape says everything."""
    return node.op("Reshape", _only_moving(node))


def dropout(node: NodeReader) -> Op:
    """Dropout outside of training."""
    if node.has(2) and node.constant(2).any():
        raise UnsupportedError("it is in training")
    return node.op("Reshape", node.input(0))


def _only_moving(node: NodeReader) -> ir.Value:
    """The first input; raises if a second one can change, as then shapes do not say it all."""
    if node.has(1):
        node.constant(1)
    return node.input(0)


def transpose(node: NodeReader) -> Op:
    """Transpose; a reshape where the elements stay in order."""
    shape = node.shape()
    return _permuted(node, shape, node.ints("perm") or list(range(len(shape)))[::-1])


def depth_to_space(node: NodeReader) -> Op:
    """DepthToSpace (ONNX DepthToSpace 13 gives both orders as reshape and transpose)."""
    batch, channels, height, width = _image(node)
    block = node.integer("blocksize", 1)
    if node.text("mode", "DCR") == "CRD":
        shape = (batch, channels // block**2, block, block, height, width)
        return _permuted(node, shape, [0, 1, 4, 2, 5, 3])
    shape = (batch, block, block, channels // block**2, height, width)
    return _permuted(node, shape, [0, 3, 4, 1, 5, 2])


def space_to_depth(node: NodeReader) -> Op:
    """SpaceToDepth; of its two orders (ONNX SpaceToDepth 28) older versions have the first."""
    batch, channels, height, width = _image(node)
    block = node.integer("blocksize", 1)
    shape = (batch, channels, height // block, block, width // block, block)
    if node.text("mode", "DCR") == "CRD":
        return _permuted(node, shape, [0, 1, 3, 5, 2, 4])
    return _permuted(node, shape, [0, 3, 5, 1, 2, 4])


def concat(node: NodeReader) -> Op:
    """Concat."""
    return node.op("Concat", *node.inputs, axis=node.axis(0))


def split(node: NodeReader) -> Op:
    """Split; the outputs' shapes say where to cut."""
    return node.op("Split", _only_moving(node), outputs=node.outputs, axis=node.axis(0))


def slices(node: NodeReader) -> Op:
    """Slice with constant limits, in plain form: one range for each dimension."""
    shape = node.shape()
    starts, ends = node.constant_ints(1, "starts"), node.constant_ints(2, "ends")
    if starts is None or ends is None:
        raise UnsupportedError("it has no limits")
    axes = node.constant_ints(3, "axes") or list(range(len(starts)))
    steps = node.constant_ints(4, "steps") or [1] * len(starts)
    ranges: list[tuple[int, int | None, int]] = [(0, n, 1) for n in shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        at = axis % len(shape)
        first, stop, _ = slice(start, end, step).indices(shape[at])
        # Going down to the first element ends at -1, which numpy would take for the last.
        ranges[at] = (first, stop if stop >= 0 else None, step)
    starts, stops, steps = (list(column) for column in zip(*ranges, strict=True))
    return node.op("Slice", node.input(0), starts=starts, stops=stops, steps=steps)


def pad(node: NodeReader) -> Op:
    """Pad with constant widths."""
    rank, mode = len(node.shape()), node.text("mode", "constant")
    widths = node.constant_ints(1, "pads")
    if widths is None or min(widths) < 0:
        raise UnsupportedError("it has no pads, or negative ones")
    axes = node.constant_ints(3, "axes") or list(range(rank))
    begins, ends = [0] * rank, [0] * rank
    for number, axis in enumerate(axes):
        begins[axis % rank], ends[axis % rank] = widths[number], widths[number + len(axes)]
    if mode == "constant":
        value = scalar_of(node.constant(2)) if node.has(2) else node.number("value", 0.0)
        return node.op("Pad", node.input(0), begins=begins, value=value)
    room = [n - (mode == "reflect") for n in node.shape()]
    if any(max(pair[:2]) > pair[2] for pair in zip(begins, ends, room, strict=True)):
        raise UnsupportedError("it pads with more elements than there are")
    return node.op("PadIndexed", node.input(0), begins=begins, ends=ends, mode=mode)


def gather(node: NodeReader) -> Op:
    """Gather."""
    return node.op("Gather", node.input(0), node.input(1), axis=node.axis(0))


def expand(node: NodeReader) -> Op:
    """Expand; the output's shape says everything."""
    return node.op("Expand", _only_moving(node))


def _image(node: NodeReader) -> tuple[int, int, int, int]:
    shape = node.shape()
    if len(shape) != 4:
        raise UnsupportedError("its input is not an image")
    return shape[0], shape[1], shape[2], shape[3]


def _permuted(node: NodeReader, shape: Shape, perm: list[int]) -> Op:
    if prod(shape) != prod(node.output_shape):
        raise UnsupportedError("its shapes do not fit")
    moved = [axis for axis in perm if shape[axis] > 1]
    if moved == sorted(moved):
        return node.op("Reshape", node.input(0))
    return node.op("Transpose", node.input(0), shape=list(shape), perm=perm)
