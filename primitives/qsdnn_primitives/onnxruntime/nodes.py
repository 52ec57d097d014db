"""The nodes of a layer that onnxruntime can run in its blocked layout, or in integers."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from qsdnn.model.dataflow import is_weight, tensor_of
from qsdnn.model.layer import Layer
from qsdnn.model.segment import block_of, fits
from qsdnn_primitives.quantization.qdq import CLAMPS, OPSET, PRODUCTS

POOLS = frozenset({"MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"})

FUSED: Mapping[str, Mapping[str, float]] = {
    "Relu": {},
    "Sigmoid": {},
    "Tanh": {},
    "LeakyRelu": {"alpha": 0.01},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
}
"""Activations that the blocked convolution can compute inside, with attributes and defaults."""

_UNARY = {*FUSED, "Clip", "HardSwish", "Elu", "Abs", "Neg"}
_BINARY = frozenset({"Add", "Sub", "Mul"})

# Operators with kernels like QLinearAdd, and operators that run on uint8 as they do on float.
_OPERATORS = PRODUCTS | CLAMPS | {
    *("Add", "Mul", "LeakyRelu", "Sigmoid", "Concat"),
    *("MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
}  # fmt: skip


def blocked_nodes(layer: Layer, layout: str) -> frozenset[int]:
    """The positions of the nodes of a layer that can run in a blocked layout.

    The layout is ``nchw<c>c`` of `qsdnn.model.segment`. onnxruntime has special kernels for
    convolutions and pools in this layout. An operator on each element alone is the same in any
    layout, and so is a concatenation of whole blocks.
    """
    if layer.pinned:
        return frozenset()
    return frozenset(i for i, node in enumerate(layer.nodes) if _can_be_blocked(node, layout))


def reads_plain(channels: int, layout: str) -> bool:
    """Whether a convolution reads so few channels that its blocked kernel wants them unblocked.

    Args:
        channels: The number of channels of the convolution's input.
        layout: The layout of the convolution's output.
    """
    return channels < block_of(layout)


def _can_be_blocked(node: ir.Node, layout: str) -> bool:
    if node.domain not in ("", "ai.onnx") or len(node.outputs) != 1:
        return False
    if not fits(layout, tensor_of(node.outputs[0])):
        return False
    if node.op_type == "Conv":
        return _can_be_blocked_conv(node, block_of(layout))
    data = [value for value in node.inputs if value is not None and not is_weight(value)]
    if not data or not all(fits(layout, tensor_of(value)) for value in data):
        return False
    if node.op_type in POOLS:
        return "dilations" not in node.attributes or node.op_type == "MaxPool"
    if node.op_type == "Concat":
        return len(data) == len(node.inputs) and node.attributes["axis"].as_int() in (1, -3)
    if node.op_type in _UNARY:
        return len(data) == 1
    same = {tensor_of(value).shape for value in (*data, *node.outputs)}
    return node.op_type in _BINARY and len(data) == len(node.inputs) and len(same) == 1


def _can_be_blocked_conv(node: ir.Node, block: int) -> bool:
    data, *parameters = node.inputs
    weight = parameters[0]
    if data is None or is_weight(data) or weight is None:
        return False
    if not all(value is None or is_weight(value) for value in parameters):
        return False
    shape = tensor_of(weight).shape
    if tensor_of(weight).dtype != "float32" or shape is None:
        return False
    outputs, inputs = shape[:2]
    group = node.attributes["group"].as_int() if "group" in node.attributes else 1
    if group == 1:
        return outputs % block == 0 and (inputs < block or inputs % block == 0)
    return inputs == 1 and outputs == group and group % block == 0


def integer_nodes(layer: Layer) -> range:
    """The positions of a layer's nodes that can run in integers; none where it makes no sense.

    A layer with a product may end in operators that cannot, like a hard-swish; any other layer can
    as a whole or not at all. A clamp alone has no kernel.
    """
    if layer.pinned or not layer.nodes or _opset(layer.nodes[0]) < OPSET:
        return range(0)
    able = [_has_integers(node) for node in layer.nodes]
    if all(able):
        return range(len(able)) if set(layer.op_types) - CLAMPS else range(0)
    products = (i for i, kind in enumerate(layer.op_types) if able[i] and kind in PRODUCTS)
    first = next(products, len(able))
    return range(first, next((i for i in range(first, len(able)) if not able[i]), len(able)))


def _has_integers(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx") or node.op_type not in _OPERATORS:
        return False
    if node.op_type in PRODUCTS and not _has_plain_parameters(node):
        return False
    if node.op_type == "AveragePool" and _counts_beyond(node):
        return False
    values = [value for value in (*node.inputs[:1], *node.outputs) if value is not None]
    return all(v.dtype == ir.DataType.FLOAT for v in values if v.name) and all(
        value is None or is_weight(value) or value.dtype == ir.DataType.FLOAT
        for value in node.inputs
    )


def _counts_beyond(node: ir.Node) -> bool:
    """Whether the integer kernel counts, in a mean, places beyond the padding; ONNX does not."""
    marks = [node.attributes.get(name) for name in ("ceil_mode", "count_include_pad")]
    return all(mark is not None and mark.as_int() != 0 for mark in marks)


def _has_plain_parameters(node: ir.Node) -> bool:
    """Whether a node's weights and bias are constants, and nothing else scales them."""
    data, *parameters = node.inputs
    weight = parameters[0]
    if data is None or is_weight(data) or weight is None or weight.shape is None:
        return False
    if not all(value is None or is_weight(value) for value in parameters):
        return False
    if node.op_type == "Conv":
        return True
    alike = [node.attributes.get(name) for name in ("alpha", "beta")]
    bias = parameters[1] if len(parameters) > 1 else None
    return (
        all(attribute is None or attribute.as_float() == 1.0 for attribute in alike)
        and "transA" not in node.attributes
        and len(weight.shape) == 2
        and (bias is None or (bias.shape is not None and len(bias.shape) == 1))
    )


def _opset(node: ir.Node) -> int:
    graph = node.graph
    return 0 if graph is None else graph.opset_imports.get("", 0)
