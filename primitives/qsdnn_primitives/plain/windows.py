"""Convolutions and pools: explicit windows from ONNX's paddings."""

from __future__ import annotations

from typing import Any

from qsdnn_primitives.plain.node import NodeReader, Op, Shape, UnsupportedError, is_constant


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
