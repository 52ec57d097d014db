"""Keeps chosen convolutions out of the blocked layout, inside a session that has it.

onnxruntime has no option for one node's algorithm. Its NchwcTransformer rewrites those convolutions
whose weights are constant; an initializer that is also a graph input may be overridden by the
caller, is therefore no constant, and its convolution stays im2col+GEMM. The caller need not feed
such an initializer.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx


def lower(model: onnx.ModelProto, nodes: Collection[str]) -> None:
    """Makes some convolutions run as im2col+GEMM, whatever the others do.

    Args:
        model: The model, changed in place.
        nodes: The names of nodes; nodes that are no convolutions with constant weights stay
            unchanged.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    lowered = [
        node
        for node in graph.node
        if node.name in nodes and node.op_type == "Conv" and node.input[1] in weights
    ]
    listed: set[str] = set()
    names = {node.name for node in lowered}
    kept = {name for node in graph.node if node.name not in names for name in node.input}
    for node in lowered:
        weight = weights[node.input[1]]
        if weight.name in kept:  # read by a node for which the weight has to stay constant
            copy = graph.initializer.add()
            copy.CopyFrom(weight)
            copy.name = f"{weight.name}/lowered"
            node.input[1] = copy.name
            weight = copy
        if weight.name not in listed:
            listed.add(weight.name)
            graph.input.append(
                onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
            )
