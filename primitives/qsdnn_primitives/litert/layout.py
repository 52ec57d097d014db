"""Operators that move elements, and resizing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qsdnn_primitives.litert.lowering import Lowering
from qsdnn_primitives.litert.program import (
    Constant,
    Form,
    Tensor,
    floats,
    form_of,
    integers,
    order,
    transposed,
)
from qsdnn_primitives.litert.schema import REFLECT
from qsdnn_primitives.plain.node import Shape, UnsupportedError, is_constant, static_shape

MAX_SLICED = 5
"""The largest number of dimensions that TensorFlow Lite cuts, pads and joins."""


def reshape(low: Lowering) -> None:
    """Reshape and its like: the shapes say everything; one that changes nothing costs nothing."""
    if low.shape() == low.output_shape:
        form = low.usual()
        low.finish(low.take(0, form), form)
        return
    known = low.program.forms(str(low.op.inputs[0].name))
    rank, shape = len(low.shape()), low.shape()
    for form in known:
        wide = [dim for dim in order(rank, form) if shape[dim] > 1]
        if wide == sorted(wide):  # nothing lies in another order than ONNX's
            low.finish(low.program.reshape(known[form], low.output_shape))
            return
    low.finish(low.program.reshape(low.take(0), low.output_shape))


def transpose(low: Lowering) -> None:
    """Transpose, from the form in which there is less to move."""
    shape, perm = tuple(low.op.attributes["shape"]), tuple(low.op.attributes["perm"])
    if shape == low.shape() and len(shape) > 2:
        known = low.program.forms(str(low.op.inputs[0].name))
        for there, tensor in known.items():
            for form in Form:
                wanted = [perm[dim] for dim in order(len(perm), form)]
                if wanted == list(order(len(shape), there)):
                    low.finish(tensor, form)
                    return
    tensor = low.program.reshape(low.take(0), shape)
    low.finish(low.program.transpose(tensor, perm))


def concat(low: Lowering) -> None:
    """Concat."""
    form, rank = _form(low)
    axis = order(rank, form).index(int(low.op.attributes["axis"]))
    tensors = [low.aligned(value, rank, form) for value in low.op.inputs]
    if len(tensors) == 1:
        low.finish(tensors[0], form)
        return
    if all(tensor.data is not None for tensor in tensors):
        raise UnsupportedError("it has constants alone")
    shape = transposed(low.output_shape, form)
    low.finish(low.add("CONCATENATION", tensors, shape, axis=axis), form)


def split(low: Lowering) -> None:
    """Split, which XNNPACK takes in equal parts; any others are cut out one by one."""
    form, rank = _form(low)
    axis = order(rank, form).index(int(low.op.attributes["axis"]))
    outputs = [Tensor(transposed(static_shape(v), form)) for v in low.op.outputs]
    sizes = [output.shape[axis] for output in outputs]
    tensor = low.take(0, form)
    if len(set(sizes)) == 1:
        low.program.put("SPLIT", [integers(axis), tensor], outputs, splits=len(sizes))
    for index, output in enumerate(outputs):
        if len(set(sizes)) > 1:
            starts = [sum(sizes[:index]) if i == axis else 0 for i in range(rank)]
            inputs = [tensor, integers(starts), integers(output.shape)]
            low.program.put("SLICE", inputs, [output])
        low.finish(output, form, index)


def slices(low: Lowering) -> None:
    """Slice."""
    attributes = low.op.attributes
    form, rank = _form(low)
    dims = order(rank, form)
    starts, stops, steps = (
        [attributes[name][dim] for dim in dims] for name in ("starts", "stops", "steps")
    )
    tensor, shape = low.take(0, form), transposed(low.output_shape, form)
    if shape == tensor.shape and all(step > 0 for step in steps):
        low.finish(tensor, form)
    elif all(step == 1 for step in steps):
        low.finish(low.add("SLICE", [tensor, integers(starts), integers(shape)], shape), form)
    else:
        mask = sum(1 << axis for axis, stop in enumerate(stops) if stop is None)
        ends = integers([stop or 0 for stop in stops])
        inputs = [tensor, integers(starts), ends, integers(steps)]
        low.finish(low.add("STRIDED_SLICE", inputs, shape, end_mask=mask), form)


def pad(low: Lowering) -> None:
    """Pad with a constant, or with the image's reflection."""
    attributes = low.op.attributes
    form, rank = _form(low)
    dims = order(rank, form)
    tensor, shape = low.take(0, form), transposed(low.output_shape, form)
    begins = [int(attributes["begins"][dim]) for dim in dims]
    widths = integers(
        [[b, out - size - b] for b, out, size in zip(begins, shape, tensor.shape, strict=True)]
    )
    if low.op.kind == "PadIndexed":
        if attributes["mode"] != "reflect":
            raise UnsupportedError(f"it pads by {attributes['mode']}")
        low.finish(low.add("MIRROR_PAD", [tensor, widths], shape, mode=REFLECT), form)
    elif attributes["value"] == 0:
        low.finish(low.add("PAD", [tensor, widths], shape), form)
    else:
        value = floats([float(attributes["value"])])
        low.finish(low.add("PADV2", [tensor, widths, value], shape), form)


def gather(low: Lowering) -> None:
    """Gather with constant indices."""
    axis, size = int(low.op.attributes["axis"]), low.shape()[int(low.op.attributes["axis"])]
    value = low.weight(1)

    def convert(array: np.ndarray) -> np.ndarray:
        return np.where(array < 0, array + size, array).astype(np.int32)

    if is_constant(low.op.inputs[0]):
        raise UnsupportedError("it reads a constant")
    indices = Tensor(static_shape(value), "int32", Constant(value, convert))
    low.finish(low.add("GATHER", [low.take(0), indices], low.output_shape, axis=axis))


def expand(low: Lowering) -> None:
    """Expand."""
    rank = len(low.output_shape)
    if rank > MAX_SLICED:
        raise UnsupportedError(f"it is of {rank} dimensions")
    tensor = low.aligned(low.op.inputs[0], rank, Form.PLAIN)
    if is_constant(low.op.inputs[0]):
        raise UnsupportedError("it reads a constant")
    if tensor.shape != low.output_shape:
        inputs = [tensor, integers(low.output_shape)]
        tensor = low.add("BROADCAST_TO", inputs, low.output_shape)
    low.finish(tensor)


def resize(low: Lowering) -> None:
    """Resize where TensorFlow Lite has ONNX's sample points."""
    attributes = low.op.attributes
    size, out = low.shape()[2:], low.output_shape[2:]
    exact = [n * scale for n, scale in zip(size, attributes["scales"], strict=True)]
    if max(abs(a - b) for a, b in zip(exact, out, strict=True)) > 1e-4:
        raise UnsupportedError("its scales are no ratio of sizes, which are all that there are")
    mode, coordinates = str(attributes["mode"]), str(attributes["coordinates"])
    if mode == "nearest" and _nearest_alike(attributes, size, out):
        kind, options = "RESIZE_NEAREST_NEIGHBOR", {}
    elif mode == "linear" and coordinates in ("half_pixel", "asymmetric", "align_corners"):
        kind = "RESIZE_BILINEAR"
        half = coordinates == "half_pixel"
        options = {"half_pixel": half, "align_corners": coordinates == "align_corners"}
    else:
        raise UnsupportedError(f"it resizes by {mode} with {coordinates}")
    tensor = low.take(0, Form.LAST)
    shape = transposed(low.output_shape, Form.LAST)
    low.finish(low.add(kind, [tensor, integers(out)], shape, **options), Form.LAST)


def _nearest_alike(attributes: Mapping[str, object], size: Sequence[int], out: Shape) -> bool:
    """Whether the elements taken are floor(i · in / out), computed in single precision."""
    coordinates, rounding = attributes["coordinates"], attributes["rounding"]
    whole = all(o % n == 0 for n, o in zip(size, out, strict=True))
    if coordinates == "asymmetric":
        if rounding not in ("floor", "simple") or (rounding == "simple" and not whole):
            return False
    elif not (
        whole
        and coordinates in ("half_pixel", "pytorch_half_pixel")
        and rounding == "round_prefer_floor"
    ):
        return False
    for n, o in zip(size, out, strict=True):
        positions = np.arange(o)
        taken = np.floor(positions.astype(np.float32) * (np.float32(n) / np.float32(o)))
        if (np.minimum(taken, n - 1) != positions * n // o).any():
            return False
    return True


def _form(low: Lowering) -> tuple[Form, int]:
    """The form for an operator that treats all dimensions alike, and the rank of its output."""
    rank = len(low.output_shape)
    if rank > MAX_SLICED:
        raise UnsupportedError(f"it is of {rank} dimensions")
    return form_of(rank, low.usual()), rank
