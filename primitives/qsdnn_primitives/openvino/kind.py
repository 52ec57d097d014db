"""Kinds of layers: within one, the plugin has the same algorithms for all."""

from __future__ import annotations

import onnx_ir as ir

from qsdnn.graph.dataflow import is_weight
from qsdnn.graph.layer import Layer

_COMPUTING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def kind_of(layer: Layer) -> str:
    """The word that the board half has for it; empty where it cannot be asked for an algorithm.

    It asks for algorithms on small layers of each kind, see
    `qsdnn_runtime.engines.openvino.algorithms`.

    Returns:
        ``conv``, ``pointwise`` (1x1), ``depthwise``, ``grouped``, ``deconv``, all over two
        dimensions; ``matmul`` of two activations; or nothing.
    """
    nodes = [node for node in layer.nodes if node.op_type in _COMPUTING]
    if len(nodes) != 1 or len(nodes[0].inputs) < 2:
        return ""
    node, weights = nodes[0], nodes[0].inputs[1]
    if weights is None or weights.shape is None:
        return ""
    if node.op_type == "MatMul":
        return "" if is_weight(weights) or _is_weight(node.inputs[0]) else "matmul"
    if node.op_type == "Gemm" or not is_weight(weights) or len(weights.shape) != 4:
        return ""
    group = node.attributes.get("group")
    groups = group.as_int() if group is not None else 1
    outputs, inputs, *kernel = weights.shape
    if node.op_type == "ConvTranspose":
        return "deconv" if groups == 1 else ""
    if groups == 1:
        return "pointwise" if kernel == [1, 1] else "conv"
    return "depthwise" if inputs == 1 and outputs == groups else "grouped"


def _is_weight(value: ir.Value | None) -> bool:
    return value is not None and is_weight(value)
