"""Products with a constant, normalizations and reductions."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from qsdnn_primitives.ncnn.operator import Array, Lowering, Param, Weight
from qsdnn_primitives.plain.node import UnsupportedError, is_constant, static_shape

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
