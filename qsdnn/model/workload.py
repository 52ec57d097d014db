"""The work of layers: multiply-accumulates, weights, and the signature of those that cost alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING

import onnx_ir as ir

from qsdnn.model.dataflow import is_weight, reads, tensor_of
from qsdnn.model.layer import Graph, Layer

if TYPE_CHECKING:
    import onnx_ir as ir


# Shapes, indices and flags are no parameters.
_NOT_TRAINED = {ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL, ir.DataType.STRING}


def macs(node: ir.Node) -> int:
    """The multiply-accumulates of Conv, ConvTranspose, Gemm, MatMul and Einsum; 0 for the rest.

    Products with padding count, biases do not. The count is 0 too where a shape is not known.
    """
    shapes = [_shape(value) for value in node.inputs]
    output = _shape(node.outputs[0])
    if node.domain not in ("", "ai.onnx") or None in shapes[:2] or output is None:
        return 0
    known = [shape or () for shape in shapes]
    match node.op_type:
        case "Conv":
            return prod(output) * prod(known[1][1:])
        case "ConvTranspose":
            return prod(known[0]) * prod(known[1][1:])
        case "Gemm":
            transposed = node.attributes.get("transA")
            depth = known[0][0 if transposed is not None and transposed.as_int() else 1]
            return prod(output) * depth
        case "MatMul":
            return prod(output) * known[0][-1]
        case "Einsum":
            return _einsum_macs(node.attributes["equation"].as_string(), known)
    return 0


def _einsum_macs(equation: str, shapes: list[tuple[int, ...]]) -> int:
    """The size of an Einsum's loop nest: one product less than operands for each index value."""
    sizes: dict[str, int] = {}
    terms = equation.replace(" ", "").split("->")[0].split(",")
    for term, shape in zip(terms, shapes, strict=False):
        head, dots, tail = term.partition("...")
        extra = len(shape) - len(head) - len(tail) if dots else 0
        # Broadcast dimensions align to the right: name them by their distance from the end.
        labels = [*head, *(f"...{extra - k}" for k in range(extra)), *tail]
        for label, size in zip(labels, shape, strict=False):
            sizes[label] = max(size, sizes.get(label, 1))
    return prod(sizes.values()) * (len(terms) - 1)


def weights_of(nodes: Iterable[ir.Node]) -> list[ir.Value]:
    """The trained weights that nodes read, each once: not shapes, indices and scalars."""
    values = dict.fromkeys(value for node in nodes for value in reads(node) if is_weight(value))
    return [
        value
        for value in values
        if value.const_value is not None and value.dtype not in _NOT_TRAINED and value.shape
    ]


def parameters(weights: Iterable[ir.Value]) -> int:
    """The number of elements of some weights."""
    return sum(value.const_value.size for value in weights if value.const_value is not None)


def parameter_bytes(weights: Iterable[ir.Value]) -> int:
    """The bytes of some weights."""
    return sum(value.const_value.nbytes for value in weights if value.const_value is not None)


def _shape(value: ir.Value | None) -> tuple[int, ...] | None:
    return tensor_of(value).shape if value is not None else None


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
