"""The precision of a network as the model states it, where that is not float32."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from qsdnn.model.layer import Graph, Layer

_FLOATS = {
    ir.DataType.FLOAT16: "float16",
    ir.DataType.BFLOAT16: "bfloat16",
    ir.DataType.DOUBLE: "float64",
}
_QUANTIZING = {
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
    *("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"),
}
_ONLY = "Only onnxruntime runs these layers, for the other engines take tensors of float32"


def precision_notes(graph: Graph) -> list[str]:
    """The notes on which layers are not in float32 as the model is written, and what follows."""
    notes = []
    for name in dict.fromkeys(_FLOATS.values()):
        count = sum(name in _floats(layer) for layer in graph.layers)
        if count:
            notes.append(
                f"the model itself computes in {name} in {_of(count, graph)}: 'fp32' means that "
                f"here. {_ONLY}; for a choice of engines export it in float32"
            )
    quantized = sum(not _QUANTIZING.isdisjoint(layer.op_types) for layer in graph.layers)
    if quantized:
        notes.append(
            f"the model itself is quantized in {_of(quantized, graph)}: 'fp32' means its own "
            f"integers there. {_ONLY}; for a choice of engines and of int8 for each layer give the "
            "model from before it was quantized, and --calibration"
        )
    return notes


def _of(count: int, graph: Graph) -> str:
    return "all layers" if count == len(graph.layers) else f"{count} of {len(graph.layers)} layers"


def _floats(layer: Layer) -> set[str]:
    """The floating types besides float32 that a layer's nodes read or make."""
    return {_FLOATS[kind] for kind in _types(layer.nodes) if kind in _FLOATS}


def _types(nodes: Iterable[ir.Node]) -> set[ir.DataType | None]:
    values = [value for node in nodes for value in (*node.inputs, *node.outputs)]
    return {value.dtype for value in values if value is not None}
