"""Matrix products and normalizations."""

from __future__ import annotations

from math import prod

from qsdnn_primitives.plain.node import NodeReader, Op, UnsupportedError, is_constant


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
