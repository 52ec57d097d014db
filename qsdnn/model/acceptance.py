"""Acceptance: what onnxruntime rejects or is random is refused; what is not in fp32 is told."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType

import onnx
import onnx_ir as ir

from qsdnn.errors import ModelError
from qsdnn.model.layer import Graph, Layer
from qsdnn.model.operators import draws
from qsdnn.model.opset import USUAL, restamp
from qsdnn.model.read import Source
from qsdnn_runtime.engines.onnxruntime.library import refusal


def check_repeatable(graph: Graph) -> None:
    """Raises ModelError when a node of a network, or of a body in it, draws random numbers."""
    nodes = ir.traversal.RecursiveGraphIterator(graph.model.graph)
    found = [f"'{node.name}' ({node.op_type})" for node in nodes if draws(node)]
    if not found:
        return
    they = found[0] if len(found) == 1 else f"{found[0]} and {len(found) - 1} more"
    raise ModelError(
        f"{graph.path}: its outputs are random: other numbers in each run come of {they}, "
        "so no plan's outputs can be verified",
        hint="make the noise an input of the network, or export it for inference: model.eval()",
    )


def check_accepted(source: Source, *, reshaped: bool) -> None:
    """Raises ModelError when this machine's onnxruntime does not run a network.

    onnxruntime is asked without the large weights, which takes milliseconds, and in case of doubt
    with them: a few operators need the values of theirs. A network newer than onnxruntime may be
    written in older operators.

    Args:
        source: The model as it was read; its large weights are inputs: see
            `qsdnn.model.weights.detach`.
        reshaped: Whether the user gave other shapes than are in the file.
    """
    library = _library()
    if library is None:
        return
    found = refusal(library, source.proto.SerializeToString())
    if found and any(stamp.version > USUAL.opset for stamp in source.proto.opset_import):
        older = onnx.ModelProto()
        older.CopyFrom(source.proto)
        restamp(older, USUAL)
        found = found if refusal(library, older.SerializeToString()) else ""
    if found and not reshaped:
        found = refusal(library, str(source.path))
    if found:
        raise ModelError(
            f"{source.path}: onnxruntime {library.__version__} refuses it: {found}",
            hint="outputs of plans are compared with onnxruntime's: "
            "export the model so that onnxruntime runs it",
        )


def _library() -> ModuleType | None:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError:
        return None


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
