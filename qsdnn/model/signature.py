"""Signatures: what makes two layers cost the same, wherever they are in a network."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from qsdnn.model.dataflow import is_weight
from qsdnn.model.layer import Graph, Layer

if TYPE_CHECKING:
    import onnx_ir as ir

SMALL = 16
"""The size up to which a constant counts by its values: axes, shapes, clipping bounds."""


def signature(layer: Layer, graph: Graph) -> str:
    """The kind of a layer, and a hash of its operators, their attributes, all shapes and types.

    Names and the values of weights do not count, so the same layer of another network, or of
    another place in this one, has the same signature.

    Args:
        layer: The layer, one of the graph.
        graph: The graph, which says the types and shapes of the layer's inputs and outputs.

    Returns:
        The kind, a colon, and 32 hexadecimal digits.
    """
    import onnx_ir as ir

    digest = hashlib.sha256()
    seen: dict[int, int] = {}

    def add(*parts: object) -> None:
        digest.update(repr(parts).encode())

    for node in layer.nodes:
        add(node.domain, node.op_type)
        for name in sorted(node.attributes):
            digest.update(ir.to_proto(node.attributes[name]).SerializeToString(deterministic=True))
        for value in node.inputs:
            add("absent") if value is None else add(*_operand(value, seen))
        for value in node.outputs:
            seen[id(value)] = len(seen)
    for name in (*layer.inputs, *layer.outputs):
        tensor = graph.tensors[name]
        add(tensor.dtype, tensor.shape)
    return f"{layer.kind}:{digest.hexdigest()[:32]}"


def layer_kind(signature: str) -> str:
    """The kind of the layers with that signature; empty where an older version wrote it."""
    return signature.rpartition(":")[0]


def _operand(value: ir.Value, seen: dict[int, int]) -> tuple[object, ...]:
    """The description of an operand: a weight, or a tensor by the order of first meeting."""
    constant = value.const_value
    if is_weight(value) and constant is not None:
        small = constant.numpy().tolist() if constant.size <= SMALL else None
        return ("weight", str(constant.dtype), tuple(constant.shape), small)
    return ("tensor", seen.setdefault(id(value), len(seen)))
