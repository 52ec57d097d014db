"""Operators that compute: convolutions and pools of images, products, norms, reductions."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from qsdnn_primitives.ncnn.operator import Array, Lowering, Param, Weight
from qsdnn_primitives.plain.node import Shape, UnsupportedError, is_constant, static_shape


def conv(low: Lowering) -> None:
    """Conv."""
    channels, *kernel = _weight_shape(low)
    group = int(low.op.attributes["group"])
    params = _window(low, tuple(kernel[1:])) | _sizes(low, channels)
    weights = [Weight(value=low.weight(1), tagged=True), *_bias(low)]
    kind = "Convolution"
    if group > 1:
        kind, params = "ConvolutionDepthWise", params | {7: group}
    low.add(kind, [low.read()], params, weights, outputs=[low.output])


def deconv(low: Lowering) -> None:
    """ConvTranspose; ncnn has the output's channels before the input's."""
    _, in_group, *kernel = _weight_shape(low)
    attributes, group = low.op.attributes, int(low.op.attributes["group"])
    params = _axes({1: 11, 2: 12, 3: 13}, kernel, attributes["dilations"], attributes["strides"])
    params |= _pads(attributes["begins"], attributes["ends"]) | _sizes(low, in_group * group)
    params |= {18: attributes["output_padding"][1], 19: attributes["output_padding"][0]}

    def convert(array: Array) -> Array:
        grouped = array.reshape(group, -1, in_group, *kernel)
        return np.swapaxes(grouped, 1, 2)

    weights = [Weight(value=low.weight(1), convert=convert, tagged=True), *_bias(low)]
    kind = "Deconvolution"
    if group > 1:
        kind, params = "DeconvolutionDepthWise", params | {7: group}
    low.add(kind, [low.read()], params, weights, outputs=[low.output])


def pool(low: Lowering) -> None:
    """MaxPool and AveragePool."""
    attributes = low.op.attributes
    if len(low.shape()) != 3 or max(attributes["dilations"]) > 1:
        raise UnsupportedError("it is not a pool of an image, or dilated")
    params = _window(low, tuple(attributes["kernel"])) | {0: int(low.op.kind == "AveragePool")}
    del params[2], params[12]  # a pool has no dilation: here 12 is the stride
    params |= {2: params.pop(3), 12: params.pop(13), 3: params.pop(4), 13: params.pop(14)}
    params |= {14: params.pop(15), 15: params.pop(16), 5: 1}  # 5: padding is as given
    if low.op.kind == "AveragePool" and attributes["count_include_pad"]:
        beyond = [params[14] > attributes["ends"][1], params[15] > attributes["ends"][0]]
        if any(beyond):
            raise UnsupportedError("its last windows reach beyond the padding that counts")
        params |= {6: 1}
    low.simple("Pooling", params)


def _weight_shape(low: Lowering) -> Shape:
    shape = static_shape(low.weight(1))
    if len(shape) != 4 or len(low.shape()) != 3:
        raise UnsupportedError("it is not of an image")
    return shape


def _bias(low: Lowering) -> list[Weight]:
    return [Weight(value=low.weight(2))] if len(low.op.inputs) > 2 else []


def _sizes(low: Lowering, channels: int) -> dict[int, Param]:
    bias = int(len(low.op.inputs) > 2)
    return {0: channels, 5: bias, 6: prod(static_shape(low.weight(1)))}


def _window(low: Lowering, kernel: Shape) -> dict[int, Param]:
    """Kernel, dilations, strides, and the padding that makes exactly the output's windows."""
    attributes = low.op.attributes
    strides, dilations = attributes["strides"], attributes["dilations"]
    begins = attributes["begins"]
    ends = []
    for axis, (size, out) in enumerate(zip(low.shape()[1:], low.output_shape[1:], strict=True)):
        span = (kernel[axis] - 1) * dilations[axis] + 1
        # Elements left over after the last window are no padding; ncnn leaves them out as well.
        ends.append(max((out - 1) * strides[axis] + span - size - begins[axis], 0))
    params = _axes({1: 11, 2: 12, 3: 13}, kernel, dilations, strides)
    return params | _pads(begins, ends)


def _axes(numbers: dict[int, int], *pairs: Shape | list[int]) -> dict[int, Param]:
    """Pairs of (height, width), each under its two parameter numbers (width's: height's)."""
    params: dict[int, Param] = {}
    for (width, height), (y, x) in zip(numbers.items(), pairs, strict=True):
        params |= {width: int(x), height: int(y)}
    return params


def _pads(begins: list[int], ends: list[int]) -> dict[int, Param]:
    return {4: begins[1], 14: begins[0], 15: ends[1], 16: ends[0]}


_REDUCTIONS: Mapping[str, int] = {"ReduceMean": 3, "ReduceSum": 0}
_POOLS: Mapping[str, int] = {"ReduceMax": 0, "ReduceMean": 1}
REDUCTIONS = frozenset({*_REDUCTIONS, *_POOLS})


def gemm(low: Lowering) -> None:
    """Gemm of one row with a constant matrix."""
    attributes = low.op.attributes
    if attributes["transA"] or len(low.shape()) != 1:
        raise UnsupportedError("its first factor is not a row")
    alpha, beta = float(attributes["alpha"]), float(attributes["beta"])
    (count,) = low.output_shape
    weights = [_factor(low, bool(attributes["transB"]), alpha)]
    if len(low.op.inputs) > 2:
        bias = low.weight(2)
        if prod(static_shape(bias)) not in (1, count):
            raise UnsupportedError("its bias is not one a column")

        def scaled(array: Array) -> Array:
            return np.broadcast_to(array.reshape(-1) * np.float32(beta), (count,))

        plain = beta == 1 and prod(static_shape(bias)) == count
        weights.append(Weight(value=bias, convert=None if plain else scaled))
    params = {0: count, 1: len(weights) - 1, 2: prod(static_shape(low.op.inputs[1]))}
    low.add("InnerProduct", [low.read()], params, weights, outputs=[low.output])


def matmul(low: Lowering) -> None:
    """MatMul with a constant matrix, row by row."""
    if len(static_shape(low.weight(1))) != 2:
        raise UnsupportedError("its second factor is not a matrix")
    shape, (inner, count) = low.shape(), static_shape(low.op.inputs[1])
    params: Mapping[int, Param] = {0: count, 1: 0, 2: inner * count}
    weights = [_factor(low, transposed=False, alpha=1.0)]
    if len(shape) == 1:
        low.add("InnerProduct", [low.read()], params, weights, outputs=[low.output])
        return
    rows = prod(shape[:-1])
    blob = low.reshape(low.read(), shape, (rows, inner))
    blob = low.add("InnerProduct", [blob], params, weights)
    # From a single row, ncnn makes a blob of one dimension.
    low.finish(blob, (rows, count) if rows > 1 else (count,))


def batch_normalization(low: Lowering) -> None:
    """BatchNormalization that could not be folded into the layer before it."""
    channels = low.shape()[0]
    scale, shift, mean, variance = (low.weight(index) for index in range(1, 5))
    if any(static_shape(value) != (channels,) for value in (scale, shift, mean, variance)):
        raise UnsupportedError("its parameters are not one a channel")
    weights = [Weight(value=value) for value in (scale, mean, variance, shift)]
    params: Mapping[int, Param] = {0: channels, 1: float(low.op.attributes["epsilon"])}
    low.add("BatchNorm", [low.read()], params, weights, outputs=[low.output])


def lrn(low: Lowering) -> None:
    """LRN across channels; ncnn divides alpha by the size as ONNX does."""
    attributes = low.op.attributes
    if len(low.shape()) != 3 or int(attributes["size"]) % 2 == 0:
        raise UnsupportedError("it is not of an image, or its window has no centre")
    numbers = (float(attributes[name]) for name in ("alpha", "beta", "bias"))
    low.simple("LRN", {0: 0, 1: int(attributes["size"]), **dict(enumerate(numbers, 2))})


def softmax(low: Lowering) -> None:
    """Softmax over one dimension, or over several that end with the last."""
    shape = low.shape()
    axes = [axis - 1 for axis in low.op.attributes["axes"] if axis > 0]
    wide = [axis for axis in axes if shape[axis] > 1] or axes[:1]
    if not wide:
        raise UnsupportedError("it is over the batch")
    if len(wide) == 1:
        low.simple("Softmax", {0: wide[0], 1: 1})
        return
    if set(range(wide[0], len(shape))) - set(axes):
        raise UnsupportedError("it is over dimensions that are not the last")
    flat = (prod(shape[: wide[0]]), prod(shape[wide[0] :]))
    blob = low.reshape(low.read(), shape, flat)
    low.finish(low.add("Softmax", [blob], {0: 1, 1: 1}), flat)


def reduction(low: Lowering) -> None:
    """ReduceMean and ReduceSum; ReduceMax of an image only, as a pool.

    In ncnn's own reduction, the largest of nothing but -inf is the least finite number.
    """
    shape = low.shape()
    axes = tuple(axis - 1 for axis in low.op.attributes["axes"] if axis > 0)
    if not axes:
        low.finish(low.read(), shape)
    elif low.op.kind in _POOLS and len(shape) == 3 and axes == (1, 2):
        blob = low.add("Pooling", [low.read()], {0: _POOLS[low.op.kind], 4: 1})
        low.finish(blob, shape[:1])
    elif low.op.kind in _REDUCTIONS:
        kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        # 4: dimensions are kept; 5: axes are counted from the outermost.
        params: Mapping[int, Param] = {0: _REDUCTIONS[low.op.kind], 1: 0, 3: axes, 4: 1, 5: 1}
        low.finish(low.add("Reduction", [low.read()], params), kept)
    else:
        raise UnsupportedError("it is not of an image")


def _factor(low: Lowering, transposed: bool, alpha: float) -> Weight:
    """The constant factor, (columns, rows), as ncnn wants it."""
    value = low.weight(1)
    if not is_constant(value) or len(static_shape(value)) != 2:
        raise UnsupportedError("its second factor is not a constant matrix")

    def convert(array: Array) -> Array:
        return (array if transposed else array.T) * np.float32(alpha)

    plain = transposed and alpha == 1
    return Weight(value=value, convert=None if plain else convert, tagged=True)
