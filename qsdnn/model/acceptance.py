"""What is accepted: what onnxruntime itself rejects is refused, and what is random."""

from __future__ import annotations

import importlib
from types import ModuleType

import onnx
import onnx_ir as ir

from qsdnn.errors import ModelError
from qsdnn.model.layer import Graph
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
            `qsdnn.model.initializers.detach`.
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
