"""Reductions, and what is made of them: softmax and normalizations."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from qsdnn_primitives.litert.lowering import Lowering
from qsdnn_primitives.litert.program import Constant, Form, Tensor, floats, form_of, integers, order
from qsdnn_primitives.plain.node import UnsupportedError

REDUCTIONS: Mapping[str, str] = {
    "ReduceMax": "REDUCE_MAX",
    "ReduceMean": "MEAN",
    "ReduceMin": "REDUCE_MIN",
    "ReduceSum": "SUM",
}


def reduction(low: Lowering) -> None:
    """ReduceMax, ReduceMean, ReduceMin and ReduceSum."""
    value, shape = low.op.inputs[0], low.shape()
    rank = len(shape)
    form = form_of(rank, low.usual(value) if len(low.output_shape) == rank else _known(low))
    dims = order(rank, form)
    axes = [dims.index(axis) for axis in low.op.attributes["axes"]]
    tensor = low.take(0, form)
    kept = tuple(1 if i in axes else n for i, n in enumerate(tensor.shape))
    if axes:
        kind = REDUCTIONS[low.op.kind]
        tensor = low.add(kind, [tensor, integers(sorted(axes))], kept, keep_dims=True)
    if form is Form.LAST:  # back to ONNX's order, where a transposition is mostly a reshape
        wide = [dim for dim in dims if shape[dim] > 1 and dim not in low.op.attributes["axes"]]
        if len(low.output_shape) == rank:
            low.finish(tensor, form)
            return
        if wide != sorted(wide):
            tensor = low.program.transpose(tensor, [dims.index(dim) for dim in range(rank)])
    low.finish(low.program.reshape(tensor, low.output_shape))


def _known(low: Lowering) -> Form:
    known = low.program.forms(str(low.op.inputs[0].name))
    return Form.LAST if Form.LAST in known else Form.PLAIN


def softmax(low: Lowering) -> None:
    """Softmax and LogSoftmax over one dimension, or over several that are the last."""
    kind = "SOFTMAX" if low.op.kind == "Softmax" else "LOG_SOFTMAX"
    options = {"beta": 1.0} if kind == "SOFTMAX" else {}
    shape = low.shape()
    axes = [int(axis) for axis in low.op.attributes["axes"]]
    wide = [axis for axis in axes if shape[axis] > 1] or axes[-1:]
    if wide == [1] and len(shape) > 2:
        tensor = low.take(0, Form.LAST)
        low.finish(low.add(kind, [tensor], tensor.shape, **options), Form.LAST)
    elif len(wide) == 1:
        rest = [axis for axis in range(len(shape)) if axis != wide[0]]
        there = [*rest, wide[0]]
        tensor = low.program.transpose(low.take(0), there)
        tensor = low.add(kind, [tensor], tensor.shape, **options)
        low.finish(low.program.transpose(tensor, [there.index(i) for i in range(len(shape))]))
    elif set(range(wide[0], len(shape))) - set(axes):
        raise UnsupportedError("it is over dimensions that are not the last")
    else:
        flat = (prod(shape[: wide[0]]), prod(shape[wide[0] :]))
        tensor = low.program.reshape(low.take(0), flat)
        low.finish(low.add(kind, [tensor], flat, **options))


def lrn(low: Lowering) -> None:
    """LRN across channels; ONNX divides alpha by the size, TensorFlow does not."""
    attributes, size = low.op.attributes, int(low.op.attributes["size"])
    if len(low.shape()) != 4 or size % 2 == 0:
        raise UnsupportedError("it is not of an image, or its window has no centre")
    tensor = low.take(0, Form.LAST)
    options = {
        "radius": size // 2,
        "bias": float(attributes["bias"]),
        "alpha": float(attributes["alpha"]) / size,
        "beta": float(attributes["beta"]),
    }
    made = low.add("LOCAL_RESPONSE_NORMALIZATION", [tensor], tensor.shape, **options)
    low.finish(made, Form.LAST)


def standardization(low: Lowering) -> None:
    """Layer, instance and group normalization: rows of zero mean and unit variance, scaled."""
    attributes, shape = low.op.attributes, low.shape()
    rows = int(attributes["rows"])
    flat, each = (rows, prod(shape) // rows), (rows, 1)
    tensor = low.program.reshape(low.take(0), flat)
    axis = integers([1])
    centred = low.add("SUB", [tensor, low.add("MEAN", [tensor, axis], each, keep_dims=True)], flat)
    squares = low.add("MUL", [centred, centred], flat)
    variance = low.add("MEAN", [squares, axis], each, keep_dims=True)
    variance = low.add("ADD", [variance, floats([[float(attributes["epsilon"])]])], each)
    tensor = low.add("MUL", [centred, low.add("RSQRT", [variance], each)], flat)
    dims = tuple(int(n) for n in attributes["parameter_shape"])
    padded = (1,) * (len(shape) - len(dims)) + dims
    if len(shape) > 4:
        raise UnsupportedError(f"it is of {len(shape)} dimensions")
    tensor = low.program.reshape(tensor, shape)
    for kind, index in (("MUL", 1), ("ADD", 2)):
        if len(low.op.inputs) > index:
            data = Constant(low.weight(index), lambda array: np.reshape(array, padded))
            tensor = low.add(kind, [tensor, Tensor(padded, "float32", data)], shape)
    low.finish(tensor)
