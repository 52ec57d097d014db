"""Kinds of layers: within one, the plugin has the same algorithms for all."""

from __future__ import annotations

from qsdnn.graph.dataflow import is_weight
from qsdnn.graph.layer import Layer

_COMPUTING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def kind_of(layer: Layer) -> str:
    """The word that the board half has for it; empty where it cannot be asked for an algorithm.

    It asks for algorithms on small layers of each kind, see
    `qsdnn_runtime.engines.openvino.algorithms`.

    Other layers have none: products have one algorithm, or are taken apart and fused; transposed
    convolutions fall back on too many shapes to be told from here.

    Returns:
        ``conv``, ``pointwise`` (1x1), ``depthwise`` or ``grouped``, all over two dimensions; or
        nothing.
    """
    nodes = [node for node in layer.nodes if node.op_type in _COMPUTING]
    if len(nodes) != 1 or nodes[0].op_type != "Conv":
        return ""
    node, weights = nodes[0], nodes[0].inputs[1]
    if weights is None or not is_weight(weights) or weights.shape is None:
        return ""
    if len(weights.shape) != 4:
        return ""
    group = node.attributes.get("group")
    groups = group.as_int() if group is not None else 1
    outputs, inputs, *kernel = weights.shape
    if groups == 1:
        return "pointwise" if kernel == [1, 1] else "conv"
    return "depthwise" if inputs == 1 and outputs == groups else "grouped"
