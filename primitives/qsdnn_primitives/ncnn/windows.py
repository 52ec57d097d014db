"""Convolutions, deconvolutions and pools of images."""

from __future__ import annotations

from math import prod

import numpy as np

from qsdnn_primitives.ncnn.operator import Array, Lowering, Param, Weight
from qsdnn_primitives.plain.node import Shape, UnsupportedError, static_shape


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
