"""Kinds of layers: within one, the plugin has the same algorithms and precisions for all."""

from __future__ import annotations

import onnx_ir as ir

from qsdnn.graph.dataflow import is_weight
from qsdnn.graph.layer import Layer

_COMPUTING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_WHOLE = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Concat"})
_BEHIND = frozenset({"Relu", "Clip", "Flatten", "Reshape"})


def kind_of(layer: Layer) -> str:
    """The word that the board half has for it; empty where nothing is known but ``auto/fp32``.

    It asks for algorithms and precisions on small layers of each kind, see
    `qsdnn_runtime.engines.openvino.algorithms` and `qsdnn_runtime.engines.openvino.precisions`.
    Transposed convolutions have none: they fall back on too many shapes to be told from here.

    Returns:
        ``conv``, ``pointwise`` (1x1), ``depthwise`` or ``grouped``, all over two dimensions;
        ``product`` with a constant matrix; the operator of a layer without products; or nothing.
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
    if groups == 1:
        return "pointwise" if kernel == [1, 1] else "conv"
    return "depthwise" if inputs == 1 and outputs == groups else "grouped"


def _operator(layer: Layer) -> str:
    first, *others = (node.op_type for node in layer.nodes)
    return first if first in _WHOLE and _BEHIND.issuperset(others) else ""
