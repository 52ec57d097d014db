"""The nodes of a layer that can run in onnxruntime's blocked layout.

The layout is ``nchw<c>c`` of `qsdnn.model.segment`. onnxruntime has special kernels for
convolutions and pools in this layout. An operator on each element alone is the same in any
layout, and so is a
concatenation of whole blocks.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from qsdnn.model.dataflow import is_weight, tensor_of
from qsdnn.model.layer import Layer
from qsdnn.model.segment import block_of, fits

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


def blocked_nodes(layer: Layer, layout: str) -> frozenset[int]:
    """The positions of the nodes of a layer that can run in a layout."""
    if layer.pinned:
        return frozenset()
    return frozenset(i for i, node in enumerate(layer.nodes) if _is_able(node, layout))


def reads_plain(channels: int, layout: str) -> bool:
    """Whether a convolution reads so few channels that its blocked kernel wants them unblocked.

    Args:
        channels: The number of channels of the convolution's input.
        layout: The layout of the convolution's output.
    """
    return channels < block_of(layout)


def _is_able(node: ir.Node, layout: str) -> bool:
    if node.domain not in ("", "ai.onnx") or len(node.outputs) != 1:
        return False
    if not fits(layout, tensor_of(node.outputs[0])):
        return False
    if node.op_type == "Conv":
        return _is_able_conv(node, block_of(layout))
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


def _is_able_conv(node: ir.Node, block: int) -> bool:
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
