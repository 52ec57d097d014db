"""Operators that move elements and compute nothing; and those that change the size of images.

The latter, resizing and transposed convolutions, not every engine has kernels for that starts from
the plain form.
"""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from qsdnn_primitives.plain.node import (
    NodeReader,
    Op,
    Shape,
    UnsupportedError,
    is_constant,
    scalar_of,
)


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


def resize(node: NodeReader) -> Op:
    """Resize and Upsample of the last two dimensions.

    Before operator set 11, ``rounding`` is ``simple``: up where an axis shrinks, else down.
    """
    if len(node.shape()) != 4 or node.shape()[:2] != node.output_shape[:2]:
        raise UnsupportedError("it does not resize an image")
    for name in ("antialias", "exclude_outside"):
        if node.integer(name, 0):
            raise UnsupportedError(f"it has {name}")
    if node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedError("its scales follow from one another")
    plain = node.op_type == "Resize" and node.opset >= 11
    return node.op(
        "Resize",
        node.input(0),
        mode=node.text("mode", "nearest"),
        coordinates=node.text(
            "coordinate_transformation_mode", "half_pixel" if plain else "asymmetric"
        ),
        rounding=node.text("nearest_mode", "round_prefer_floor") if plain else "simple",
        coefficient=node.number("cubic_coeff_a", -0.75),
        scales=_scales(node, 2 if plain else 1),
    )


def _scales(node: NodeReader, position: int) -> list[float]:
    """The scales of rows and columns: as they are given, else the ratios of the sizes."""
    if position == 2 and node.has(3):
        node.constant(3)  # raises for an activation, which would have to be read
        sizes = zip(node.output_shape[2:], node.shape()[2:], strict=True)
        return [out / size for out, size in sizes]
    if not node.has(position) or node.ints("axes"):
        raise UnsupportedError("its scales are not plain")
    scales = [float(scale) for scale in node.constant(position).reshape(-1)]
    if len(scales) != 4 or scales[:2] != [1.0, 1.0]:
        raise UnsupportedError("it does not resize an image")
    return scales[2:]


def conv_transpose(node: NodeReader) -> Op:
    """ConvTranspose with constant weights; `auto_pad` and ``output_shape`` resolved."""
    if not all(is_constant(value) for value in node.inputs[1:]):
        raise UnsupportedError("its weights are not constant")
    kernel = node.shape(1)[2:]
    rank = len(kernel)
    if rank == 0 or len(node.shape()) != rank + 2 or len(node.output_shape) != rank + 2:
        raise UnsupportedError("its input is not (N, C, size …)")
    strides = node.ints("strides") or [1] * rank
    dilations = node.ints("dilations") or [1] * rank
    added = node.ints("output_padding") or [0] * rank
    # ONNX ConvTranspose 11: stride · (in − 1) + output_padding + span, of which the pads are cut
    whole = [
        stride * (size - 1) + more + (taps - 1) * dilation + 1
        for stride, size, more, taps, dilation in zip(
            strides, node.shape()[2:], added, kernel, dilations, strict=True
        )
    ]
    cut = [size - out for size, out in zip(whole, node.output_shape[2:], strict=True)]
    begins, ends = _cut_off(node, cut)
    if min(*begins, *ends, *added) < 0:
        raise UnsupportedError("a padding is negative")
    if [begin + end for begin, end in zip(begins, ends, strict=True)] != cut:
        raise UnsupportedError("its output has another size than its attributes say")
    return node.op(
        "ConvTranspose",
        *node.inputs,
        group=node.integer("group", 1),
        strides=strides,
        dilations=dilations,
        begins=begins,
        ends=ends,
        output_padding=added,
    )


def _cut_off(node: NodeReader, cut: list[int]) -> tuple[list[int], list[int]]:
    """The padding of a ConvTranspose before and after each dimension, which makes `cut` in all."""
    rank, mode = len(cut), node.text("auto_pad", "NOTSET")
    if mode == "NOTSET" and not node.ints("output_shape"):
        pads = node.ints("pads") or [0] * (2 * rank)
        return pads[:rank], pads[rank:]
    if mode == "VALID" and not node.ints("output_shape"):
        return [0] * rank, [0] * rank
    small = [total // 2 for total in cut]
    large = [total - half for total, half in zip(cut, small, strict=True)]
    return (small, large) if mode == "SAME_UPPER" else (large, small)
