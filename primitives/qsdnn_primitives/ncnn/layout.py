"""Operators that move elements and compute nothing, and resizing."""

from __future__ import annotations

from collections.abc import Mapping

from qsdnn_primitives.ncnn.operator import Lowering, Param
from qsdnn_primitives.plain.node import Shape, UnsupportedError, static_shape

# The results of ncnn's Permute orders: the input's dimensions by letter, innermost first.
_ORDERS: Mapping[int, tuple[str, ...]] = {
    2: ("WH", "HW"),
    3: ("WHC", "HWC", "WCH", "CWH", "HCW", "CHW"),
    4: (
        *("WHDC", "HWDC", "WDHC", "DWHC", "HDWC", "DHWC", "WHCD", "HWCD", "WCHD", "CWHD"),
        *("HCWD", "CHWD", "WDCH", "DWCH", "WCDH", "CWDH", "DCWH", "CDWH", "HDCW", "DHCW"),
        *("HCDW", "CHDW", "DCHW", "CDHW"),
    ),
}
_LETTERS: Mapping[int, str] = {2: "HW", 3: "CHW", 4: "CDHW"}
_PADDINGS: Mapping[str, int] = {"constant": 0, "edge": 1, "reflect": 2}
_PAD_SIDES: Mapping[int, tuple[tuple[int, int], ...]] = {
    1: ((2, 3),),
    2: ((0, 1), (2, 3)),
    3: ((7, 8), (0, 1), (2, 3)),
}


def reshape(low: Lowering) -> None:
    """Reshape and its like: the shapes say everything."""
    low.finish(low.read(), low.shape())


def transpose(low: Lowering) -> None:
    """Transpose of up to four dimensions, counting dimensions that stay together as one."""
    shape, perm = _merged(tuple(low.op.attributes["shape"]), tuple(low.op.attributes["perm"]))
    rank = len(shape)
    if rank < 2:
        low.finish(low.read(), low.shape())
        return
    if rank not in _LETTERS:
        raise UnsupportedError(f"it moves {rank} dimensions")
    letters = "".join(_LETTERS[rank][axis] for axis in perm)[::-1]
    blob = low.reshape(low.read(), low.shape(), shape)
    blob = low.add("Permute", [blob], {0: _ORDERS[rank].index(letters)})
    low.finish(blob, tuple(shape[axis] for axis in perm))


def concat(low: Lowering) -> None:
    """Concat."""
    axis, rank = int(low.op.attributes["axis"]), len(low.output_shape) + 1
    if axis == 0:
        raise UnsupportedError("it is along the batch")
    blobs = [low.operand(value, rank) for value in low.op.inputs]
    if len(blobs) == 1:
        low.finish(blobs[0], low.output_shape)
    else:
        low.add("Concat", blobs, {0: axis - 1}, outputs=[low.output])


def split(low: Lowering) -> None:
    """Split."""
    axis = int(low.op.attributes["axis"])
    if axis == 0:
        raise UnsupportedError("it is along the batch")
    sizes = tuple(static_shape(value)[axis] for value in low.op.outputs)
    if len(sizes) == 1:
        low.finish(low.read(), low.shape())
    else:
        names = [str(value.name) for value in low.op.outputs]
        low.add("Slice", [low.read()], {0: sizes, 1: axis - 1}, outputs=names)


def crop(low: Lowering) -> None:
    """Slice in steps of one."""
    attributes = low.op.attributes
    if any(step != 1 for step in attributes["steps"]):
        raise UnsupportedError("it has steps")
    shape = low.shape()
    starts = [int(start) for start in attributes["starts"][1:]]
    cut = [axis for axis, size in enumerate(shape) if low.output_shape[axis] != size]
    if not cut:
        low.finish(low.read(), shape)
        return
    begins = tuple(starts[axis] for axis in cut)
    ends = tuple(starts[axis] + low.output_shape[axis] for axis in cut)
    low.simple("Crop", {9: begins, 10: ends, 11: tuple(cut)})


def pad(low: Lowering) -> None:
    """Pad of an image with a constant, its edge or its reflection."""
    attributes = low.op.attributes
    mode = str(attributes.get("mode", "constant"))
    shape, out = low.shape(), low.output_shape
    if mode not in _PADDINGS or len(shape) not in _PAD_SIDES or attributes["begins"][0]:
        raise UnsupportedError("it pads in a way of its own")
    begins = [int(size) for size in attributes["begins"][1:]]
    ends = [o - s - b for o, s, b in zip(out, shape, begins, strict=True)]
    if min(begins + ends) < 0:
        raise UnsupportedError("it takes elements away")
    params: dict[int, Param] = {4: _PADDINGS[mode], 5: float(attributes.get("value", 0.0))}
    for axis, (front, back) in enumerate(_PAD_SIDES[len(shape)]):
        if front == 7 and mode != "constant" and (begins[axis] or ends[axis]):
            raise UnsupportedError(f"it pads channels with their {mode}")
        params |= {front: begins[axis], back: ends[axis]}
    low.simple("Padding", params)


def interp(low: Lowering) -> None:
    """Resize where ncnn's interpolation has ONNX's sample points."""
    attributes = low.op.attributes
    kinds = {"nearest": 1, "linear": 2, "cubic": 3}
    mode, coordinates = attributes["mode"], attributes["coordinates"]
    aligned = coordinates == "align_corners"
    (_, height, width), (_, out_height, out_width) = low.shape(), low.output_shape
    exact = (height * attributes["scales"][0], width * attributes["scales"][1])
    if max(abs(exact[0] - out_height), abs(exact[1] - out_width)) > 1e-4:
        raise UnsupportedError("its scales are no ratio of sizes, which are all that ncnn knows")
    if mode not in kinds or not _samples_alike(low):
        raise UnsupportedError(f"it resizes by {mode} with {coordinates}")
    if mode == "cubic" and attributes["coefficient"] != -0.75:
        raise UnsupportedError("its cubic has another coefficient")
    params = {0: kinds[mode], 3: out_height, 4: out_width, 6: int(aligned and mode != "nearest")}
    if (height, width) == (out_height, out_width):
        low.finish(low.read(), low.shape())
    else:
        low.simple("Interp", params)


def _samples_alike(low: Lowering) -> bool:
    attributes = low.op.attributes
    coordinates, sizes = attributes["coordinates"], low.output_shape[1:]
    if attributes["mode"] != "nearest":
        points = ("half_pixel", "align_corners")
        return coordinates in points or (coordinates == "pytorch_half_pixel" and min(sizes) > 1)
    if coordinates == "asymmetric":
        known = ("floor", "simple") if min(attributes["scales"]) >= 1 else ("floor",)
        return attributes["rounding"] in known
    # By whole factors, the nearest centre is the point of "asymmetric", rounded down.
    whole = all(out % size == 0 for size, out in zip(low.shape()[1:], sizes, strict=True))
    known = ("half_pixel", "pytorch_half_pixel")
    return whole and coordinates in known and attributes["rounding"] == "round_prefer_floor"


def _merged(shape: Shape, perm: Shape) -> tuple[Shape, Shape]:
    """A permutation without dimensions of one, with dimensions that stay together made one."""
    moved = [axis for axis in perm if shape[axis] > 1]
    order = sorted(moved)
    rank = {axis: position for position, axis in enumerate(order)}
    runs: list[list[int]] = []
    for axis in moved:
        if runs and rank[axis] == rank[runs[-1][-1]] + 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    starts = sorted(run[0] for run in runs)
    sizes = {run[0]: _product(shape, run) for run in runs}
    return (
        tuple(sizes[start] for start in starts),
        tuple(starts.index(run[0]) for run in runs),
    )


def _product(shape: Shape, axes: list[int]) -> int:
    product = 1
    for axis in axes:
        product *= shape[axis]
    return product
