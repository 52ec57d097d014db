"""Kinds of layers: the plugin has the same algorithms and precisions for all of one kind."""

from __future__ import annotations

import onnx_ir as ir

from qsdnn.model.dataflow import is_weight
from qsdnn.model.layer import Layer

_COMPUTING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_WHOLE = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Concat"})
_BEHIND = frozenset({"Relu", "Clip", "Flatten", "Reshape"})


def kind_of(layer: Layer) -> str:
    """The board half's word for a layer's kind; empty where only ``auto/fp32`` is known.

    The board half asks for algorithms and precisions on small layers of each kind, see
    `qsdnn_runtime.engines.openvino.capabilities` and `qsdnn_runtime.engines.openvino.capabilities`.
    Transposed convolutions have no kind: the plugin falls back on too many shapes to tell from
    here.

    Returns:
        ``conv``, ``pointwise`` (1x1), ``depthwise`` or ``grouped``, all over two dimensions;
        ``product`` with a constant matrix; the operator of a layer without products; or an empty
        text.
    """
    nodes = [node for node in layer.nodes if node.op_type in _COMPUTING]
    if not nodes:
        return _operator(layer)
    if len(nodes) > 1 or nodes[0].op_type == "ConvTranspose":
        return ""
    weights = nodes[0].inputs[1]
    if weights is None or not is_weight(weights) or weights.shape is None:
        return ""
    if nodes[0].op_type != "Conv":
        return "product" if len(weights.shape) == 2 else ""
    return _convolution(nodes[0], weights) if len(weights.shape) == 4 else ""


def _convolution(node: ir.Node, weights: ir.Value) -> str:
    group = node.attributes.get("group")
    groups = group.as_int() if group is not None else 1
    assert weights.shape is not None
    outputs, inputs, *kernel = weights.shape
    if groups == 1 and kernel == [1, 1]:
        return "" if _is_strided(node) and _is_padded(node) else "pointwise"
    if groups == 1:
        return "conv"
    return "depthwise" if inputs == 1 and outputs == groups else "grouped"


def _is_strided(node: ir.Node) -> bool:
    strides = node.attributes.get("strides")
    return strides is not None and max(strides.as_ints()) > 1


def _is_padded(node: ir.Node) -> bool:
    """Whether a convolution pads the image, which the plugin forgets in integers.

    The plugin moves the strides of a 1x1 convolution before the integers, and the padding stays
    behind (OpenVINO 2026.4).
    """
    pads = node.attributes.get("pads")
    return pads is not None and any(pads.as_ints())


def _operator(layer: Layer) -> str:
    first, *others = layer.nodes
    if first.op_type not in _WHOLE or not _BEHIND.issuperset(node.op_type for node in others):
        return ""
    return first.op_type if first.op_type != "Concat" or _joins_channels(first) else ""


def _joins_channels(node: ir.Node) -> bool:
    """Whether a Concat joins channels of images: along other axes it is not always one kernel."""
    axis, shape = node.attributes.get("axis"), node.outputs[0].shape
    return axis is not None and axis.as_int() == 1 and shape is not None and len(shape) == 4
