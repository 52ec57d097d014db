"""Operators that compute: elementwise ones, products, normalizations, convolutions and pools."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from qsdnn_primitives.plain.node import (
    NodeReader,
    Op,
    Shape,
    UnsupportedError,
    is_constant,
    scalar_of,
)

FLOAT32_MAX = float(np.finfo(np.float32).max)


def same(node: NodeReader) -> Op:
    """An operator whose inputs say everything, e.g. Add, Relu."""
    return node.op(node.op_type, *node.inputs)


def leaky_relu(node: NodeReader) -> Op:
    """LeakyRelu."""
    return node.op("LeakyRelu", node.input(0), alpha=node.number("alpha", 0.01))


def elu(node: NodeReader) -> Op:
    """Elu."""
    return node.op("Elu", node.input(0), alpha=node.number("alpha", 1.0))


def selu(node: NodeReader) -> Op:
    """Selu; the defaults are those of ONNX Selu 6."""
    alpha = node.number("alpha", 1.67326319217681884765625)
    gamma = node.number("gamma", 1.05070102214813232421875)
    return node.op("Selu", node.input(0), alpha=alpha, gamma=gamma)


def hard_sigmoid(node: NodeReader) -> Op:
    """HardSigmoid."""
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    return node.op("HardSigmoid", node.input(0), alpha=alpha, beta=beta)


def gelu(node: NodeReader) -> Op:
    """Gelu, exact or by tanh."""
    kinds = {"none": "Gelu", "tanh": "GeluTanh"}
    return node.op(kinds[node.text("approximate", "none")], node.input(0))


def clip(node: NodeReader) -> Op:
    """Clip: limits are attributes before operator set 11, constants since."""
    limits: dict[str, Any] = {"min": -FLOAT32_MAX, "max": FLOAT32_MAX}
    for index, name in enumerate(limits, 1):
        limit = scalar_of(node.constant(index)) if node.has(index) else limits[name]
        limits[name] = node.number(name, limit) if node.opset < 11 else limit
    return node.op("Clip", node.input(0), **limits)


def power(node: NodeReader) -> Op:
    """Pow; a constant exponent of one element becomes an attribute, whatever its type."""
    if not is_constant(node.input(1)) or node.constant(1).size != 1:
        return same(node)
    if len(node.shape(1)) > len(node.shape(0)):
        raise UnsupportedError("its exponent adds dimensions")
    return node.op("Power", node.input(0), exponent=scalar_of(node.constant(1)))


def gemm(node: NodeReader) -> Op:
    """Gemm; beta scales a constant C only."""
    beta = node.number("beta", 1.0)
    inputs = node.inputs if beta else node.inputs[:2]
    if len(inputs) > 2 and beta != 1 and not is_constant(inputs[2]):
        raise UnsupportedError("beta scales an activation")
    return node.op(
        "Gemm",
        *inputs,
        alpha=node.number("alpha", 1.0),
        beta=beta,
        transA=node.integer("transA", 0),
        transB=node.integer("transB", 0),
    )


def batch_normalization(node: NodeReader) -> Op:
    """BatchNormalization in inference, with constant parameters."""
    if node.integer("training_mode", 0) or not node.integer("spatial", 1):
        raise UnsupportedError("it is in training, or not per channel")
    if not all(is_constant(value) for value in node.inputs[1:]) or len(node.shape()) < 2:
        raise UnsupportedError("its parameters are not constant per channel")
    return node.op("BatchNormalization", *node.inputs, epsilon=node.number("epsilon", 1e-5))


def layer_normalization(node: NodeReader) -> Op:
    """LayerNormalization: a row is all dimensions from `axis` on."""
    axis, shape = node.axis(-1), node.shape()
    return _standardization(node, rows=prod(shape[:axis]), parameter_shape=shape[axis:])


def instance_normalization(node: NodeReader) -> Op:
    """InstanceNormalization: a row is a channel of an image."""
    shape = node.shape()
    parameter_shape = (shape[1],) + (1,) * (len(shape) - 2)
    return _standardization(node, rows=prod(shape[:2]), parameter_shape=parameter_shape)


def group_normalization(node: NodeReader) -> Op:
    """GroupNormalization 21: a row is a group of channels, parameters are per channel."""
    if node.opset < 21:
        raise UnsupportedError("before operator set 21 its parameters are per group")
    shape, groups = node.shape(), node.integer("num_groups", 1)
    parameter_shape = (shape[1],) + (1,) * (len(shape) - 2)
    return _standardization(node, rows=shape[0] * groups, parameter_shape=parameter_shape)


def _standardization(node: NodeReader, rows: int, parameter_shape: tuple[int, ...]) -> Op:
    if any(prod(node.shape(i)) != prod(parameter_shape) for i in range(1, len(node.inputs))):
        raise UnsupportedError("its parameters broadcast within a row")
    return node.op(
        "Standardization",
        *node.inputs,
        rows=rows,
        parameter_shape=list(parameter_shape),
        epsilon=node.number("epsilon", 1e-5),
    )


def lrn(node: NodeReader) -> Op:
    """LRN, across channels."""
    return node.op(
        "LRN",
        node.input(0),
        size=node.integer("size", 1),
        alpha=node.number("alpha", 1e-4),
        beta=node.number("beta", 0.75),
        bias=node.number("bias", 1.0),
    )


def softmax(node: NodeReader) -> Op:
    """Softmax and LogSoftmax; before operator set 13 over all dimensions from `axis` on."""
    rank = len(node.shape())
    if node.opset >= 13:
        return node.op(node.op_type, node.input(0), axes=[node.axis(-1)])
    return node.op(node.op_type, node.input(0), axes=list(range(node.axis(1), rank)))


def reduce(node: NodeReader) -> Op:
    """ReduceMean and its like: axes are an attribute in older operator sets, a constant since."""
    rank = len(node.shape())
    axes = node.constant_ints(1, "axes")
    if not axes and node.integer("noop_with_empty_axes", 0):
        return node.op("Reshape", node.input(0))
    chosen = sorted(axis % rank for axis in axes or range(rank))
    return node.op(node.op_type, node.input(0), axes=chosen)


def global_pool(node: NodeReader) -> Op:
    """GlobalAveragePool and GlobalMaxPool: reductions over all positions."""
    kind = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}[node.op_type]
    return node.op(kind, node.input(0), axes=list(range(2, len(node.shape()))))


def conv(node: NodeReader) -> Op:
    """Conv with constant weights, of any number of spatial dimensions."""
    weights = node.shape(1)
    if not all(is_constant(value) for value in node.inputs[1:]):
        raise UnsupportedError("its weights are not constant")
    window = _window(node, weights[2:])
    del window["ends"], window["kernel"]
    return node.op("Conv", *node.inputs, group=node.integer("group", 1), **window)


def max_pool(node: NodeReader) -> Op:
    """MaxPool; its second output, the indices, is not made."""
    window = _pool_window(node)
    del window["ends"]
    return node.op("MaxPool", node.input(0), **window)


def average_pool(node: NodeReader) -> Op:
    """AveragePool."""
    window = _pool_window(node)
    include = node.integer("count_include_pad", 0)
    return node.op("AveragePool", node.input(0), count_include_pad=include, **window)


def _pool_window(node: NodeReader) -> dict[str, Any]:
    """The window of a pool; each position of the window must hold an element of the input.

    ONNX and onnxruntime count windows differently where `ceil_mode` leaves one of padding alone.
    """
    kernel = node.ints("kernel_shape")
    if kernel is None:
        raise UnsupportedError("it has no kernel_shape")
    window = _window(node, tuple(kernel))
    for axis, (size, out) in enumerate(zip(node.shape()[2:], node.output_shape[2:], strict=True)):
        stride, begin = window["strides"][axis], window["begins"][axis]
        taps = [tap * window["dilations"][axis] - begin for tap in range(kernel[axis])]
        if not all(any(0 <= at * stride + tap < size for tap in taps) for at in range(out)):
            raise UnsupportedError("a window holds nothing but padding")
        left_over = size - (out - 1) * stride - taps[-1] + taps[0] - 1
        if left_over > 0 and node.text("auto_pad", "NOTSET").startswith("SAME"):
            raise UnsupportedError(
                "its padding is negative, by which onnxruntime shifts its windows"
            )
    return window


def _window(node: NodeReader, kernel: Shape) -> dict[str, Any]:
    """The attributes of a window, with `auto_pad` resolved."""
    rank = len(kernel)
    if rank == 0 or len(node.shape()) != rank + 2 or len(node.output_shape) != rank + 2:
        raise UnsupportedError("its input is not (N, C, size …)")
    strides = node.ints("strides") or [1] * rank
    dilations = node.ints("dilations") or [1] * rank
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begins, ends = _padding(node, spans, strides)
    if min(begins + ends) < 0:
        raise UnsupportedError("a padding is negative")
    window = {"strides": strides, "dilations": dilations, "begins": begins, "ends": ends}
    return {"kernel": list(kernel), **window}


def _padding(node: NodeReader, spans: list[int], strides: list[int]) -> tuple[list[int], list[int]]:
    """The padding before and after each dimension (ONNX Conv 11: `auto_pad`)."""
    rank, mode = len(spans), node.text("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = node.ints("pads") or [0] * (2 * rank)
        return pads[:rank], pads[rank:]
    if mode == "VALID":
        return [0] * rank, [0] * rank
    sizes = zip(node.output_shape[2:], strides, spans, node.shape()[2:], strict=True)
    totals = [max((out - 1) * stride + span - size, 0) for out, stride, span, size in sizes]
    small = [total // 2 for total in totals]
    large = [total - half for total, half in zip(totals, small, strict=True)]
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise UnsupportedError(f"auto_pad {mode} is unknown")
    return (small, large) if mode == "SAME_UPPER" else (large, small)
