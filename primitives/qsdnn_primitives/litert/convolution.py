"""Convolutions and pools of images, and of rows as images of one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from qsdnn_primitives.litert.lowering import Lowering
from qsdnn_primitives.litert.program import Array, Form, Tensor, floats, integers
from qsdnn_primitives.litert.schema import SAME, VALID
from qsdnn_primitives.plain.node import Shape, UnsupportedError, static_shape

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How a window moves over an image: pairs of (rows, columns).

    Attributes:
        size: The input's height and width.
        out: The output's height and width.
        kernel: The taps of the window.
        strides: The strides.
        dilations: The dilations.
        begins: The padding before the image.
    """

    size: Pair
    out: Pair
    kernel: Pair
    strides: Pair
    dilations: Pair
    begins: Pair

    @property
    def spans(self) -> Pair:
        """The elements from the first tap to the last."""
        return _pair((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def ends(self) -> Pair:
        """The padding behind the image that the last windows reach into."""
        return _pair(
            max((self.out[i] - 1) * self.strides[i] + self.spans[i] - self.size[i] - begin, 0)
            for i, begin in enumerate(self.begins)
        )

    @property
    def padding(self) -> int | None:
        """TensorFlow's name for the padding; None where it has none for it."""
        if not any(self.begins + self.ends):
            return VALID
        same = self.out == _pair(-(-n // s) for n, s in zip(self.size, self.strides, strict=True))
        halves = _pair((b + e) // 2 for b, e in zip(self.begins, self.ends, strict=True))
        whole = all(
            (out - 1) * stride + span - size == begin + end
            for out, stride, span, size, begin, end in zip(
                self.out, self.strides, self.spans, self.size, self.begins, self.ends, strict=True
            )
            if begin + end
        )
        return SAME if same and whole and halves == self.begins else None

    def options(self, padding: int) -> dict[str, float]:
        """The options that all windows have."""
        return {"padding": padding, "stride_h": self.strides[0], "stride_w": self.strides[1]}


def conv(low: Lowering) -> None:
    """Conv; one with a filter for each channel alone is DEPTHWISE_CONV_2D."""
    weights = static_shape(low.weight(1))
    outputs, group = weights[0], int(low.op.attributes["group"])
    window = _window(low, weights[2:])
    channels = low.shape()[1]
    image, padding = _padded(low, _image(low), window)
    kernel = window.kernel
    options = window.options(padding)
    options |= {"dilation_h": window.dilations[0], "dilation_w": window.dilations[1]}
    shape = (low.shape()[0], *window.out, outputs)
    bias = _bias(low, outputs)
    if group == channels > 1:

        def turned(array: Array) -> Array:
            return array.reshape(outputs, 1, *kernel).transpose(1, 2, 3, 0)

        filters = low.constant(1, (1, *kernel, outputs), turned)
        kind, options = "DEPTHWISE_CONV_2D", options | {"multiplier": outputs // group}
    else:

        def last(array: Array) -> Array:
            return array.reshape(outputs, channels // group, *kernel).transpose(0, 2, 3, 1)

        turns = last if prod(kernel) > 1 else None
        filters = low.constant(1, (outputs, *kernel, channels // group), turns)
        kind = "CONV_2D"
    _give(low, low.add(kind, [image, filters, bias], shape, **options))


def deconv(low: Lowering) -> None:
    """ConvTranspose of one group: all that its filters reach, cut to the output."""
    attributes, weights = low.op.attributes, static_shape(low.weight(1))
    if int(attributes["group"]) > 1 or max(attributes["dilations"]) > 1:
        raise UnsupportedError("it is dilated, or of several groups")
    rank, (channels, outputs) = len(weights) - 2, weights[:2]
    if rank not in (1, 2):
        raise UnsupportedError("it is not of an image")
    kernel, strides = _square(weights[2:], 1), _square(attributes["strides"], 1)
    begins, out = _square(attributes["begins"], 0), _square(low.output_shape[2:], 1)
    size = _square(low.shape()[2:], 1)
    whole = _pair((n - 1) * s + k for n, s, k in zip(size, strides, kernel, strict=True))

    def turned(array: Array) -> Array:
        return array.reshape(channels, outputs, *kernel).transpose(1, 2, 3, 0)

    batch = low.shape()[0]
    filters = low.constant(1, (outputs, *kernel, channels), turned)
    options = {"padding": VALID, "stride_h": strides[0], "stride_w": strides[1]}
    shape = (batch, *whole, outputs)
    kept = _pair(min(w - b, o) for w, b, o in zip(whole, begins, out, strict=True))
    if min(kept) < 1:
        raise UnsupportedError("nothing of it is kept")
    inputs = [integers(shape), filters, _image(low), None if kept != out else _bias(low, outputs)]
    tensor = low.add("TRANSPOSE_CONV", inputs, shape, **options)
    if kept != whole:
        cut = (batch, *kept, outputs)
        begin = integers((0, *begins, 0))
        tensor = low.add("SLICE", [tensor, begin, integers(cut)], cut)
    if kept != out:  # output_padding reaches beyond the filters: there is the bias alone
        widths = [[0, 0], *([0, o - k] for o, k in zip(out, kept, strict=True)), [0, 0]]
        shape = (batch, *out, outputs)
        tensor = low.add("PAD", [tensor, integers(widths)], shape)
        tensor = low.add("ADD", [tensor, _bias(low, outputs)], shape)
    _give(low, tensor)


def pool(low: Lowering) -> None:
    """MaxPool and AveragePool."""
    attributes = low.op.attributes
    window = _window(low, tuple(attributes["kernel"]))
    if max(window.dilations) > 1:
        raise UnsupportedError("it is dilated")
    batch, channels = low.shape()[:2]
    shape = (batch, *window.out, channels)
    maximal = low.op.kind == "MaxPool"
    image, padding = _padded(low, _image(low), window, lowest=maximal)
    options = window.options(padding)
    options |= {"filter_h": window.kernel[0], "filter_w": window.kernel[1]}
    kind = "MAX_POOL_2D" if maximal else "AVERAGE_POOL_2D"
    tensor = low.add(kind, [image], shape, **options)
    if not maximal and any(window.begins + window.ends):
        tensor = _recounted(low, tensor, window, padding)
    _give(low, tensor)


def _recounted(low: Lowering, tensor: Tensor, window: Window, padding: int) -> Tensor:
    """The mean of padded windows, divided by the number of elements that ONNX counts.

    TensorFlow counts the elements of the image where it pads by itself, all taps where it does not.
    """
    attributes = low.op.attributes
    image = _counts(window, (0, 0), (0, 0))
    found = image if padding == SAME else np.full(window.out, prod(window.kernel))
    wanted = image
    if attributes["count_include_pad"]:
        begins, ends = _square(attributes["begins"], 0), _square(attributes["ends"], 0)
        wanted = _counts(window, begins, ends)
    if (found == wanted).all():
        return tensor
    factors = (found / wanted)[None, :, :, None]
    return low.add("MUL", [tensor, floats(factors)], tensor.shape)


def _counts(window: Window, begins: Pair, ends: Pair) -> Array:
    """The elements in each window (height, width) of an image with that much around it."""
    lines = []
    for axis in range(2):
        starts = np.arange(window.out[axis]) * window.strides[axis] - window.begins[axis]
        last = np.minimum(starts + window.kernel[axis], window.size[axis] + ends[axis])
        lines.append(last - np.maximum(starts, -begins[axis]))
    return np.outer(*lines)


def _image(low: Lowering) -> Tensor:
    """The first input with channels last, a row as an image of one line."""
    tensor = low.take(0, Form.LAST)
    if len(tensor.shape) == 3:
        tensor = low.program.reshape(tensor, (tensor.shape[0], 1, *tensor.shape[1:]))
    return tensor


def _give(low: Lowering, tensor: Tensor) -> None:
    if len(low.output_shape) == 3:
        tensor = low.program.reshape(tensor, (tensor.shape[0], *tensor.shape[2:]))
    low.finish(tensor, Form.LAST)


def _padded(
    low: Lowering, image: Tensor, window: Window, lowest: bool = False
) -> tuple[Tensor, int]:
    """The image, padded where TensorFlow has no name for the padding; and the name for the rest."""
    if window.padding is not None:
        return image, window.padding
    sides = zip(window.begins, window.ends, strict=True)
    widths = [[0, 0], *([begin, end] for begin, end in sides), [0, 0]]
    shape = tuple(n + sum(width) for n, width in zip(image.shape, widths, strict=True))
    if lowest:
        least = floats(np.array([-np.inf]))
        return low.add("PADV2", [image, integers(widths), least], shape), VALID
    return low.add("PAD", [image, integers(widths)], shape), VALID


def _bias(low: Lowering, count: int) -> Tensor:
    if len(low.op.inputs) > 2:
        return low.constant(2, (count,))
    return floats(np.zeros(count))


def _window(low: Lowering, kernel: Shape) -> Window:
    attributes = low.op.attributes
    if len(kernel) not in (1, 2):
        raise UnsupportedError("it is not of an image")
    return Window(
        size=_square(low.shape()[2:], 1),
        out=_square(low.output_shape[2:], 1),
        kernel=_square(kernel, 1),
        strides=_square(attributes["strides"], 1),
        dilations=_square(attributes["dilations"], 1),
        begins=_square(attributes["begins"], 0),
    )


def _square(values: Sequence[int], line: int) -> Pair:
    """Values of rows and columns; `line` for the rows of what has but one."""
    pair: Any = (line, *values) if len(values) == 1 else values
    return int(pair[0]), int(pair[1])


def _pair(values: Any) -> Pair:
    first, second = values
    return int(first), int(second)
