"""The simplification of a model with onnxslim: folds constants, drops what does nothing.

onnxslim rewrites a lot, so the rewritten model is checked against the original, and the original is
good enough. Scales and shifts are folded in `qsdnn.model.fold`, exactly.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator

import onnx
import onnx.inliner
import onnx.shape_inference
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

from qsdnn.model.operators import RANDOM

# Its fusions are left to `fold` and to the engines: some of onnxslim's take a vector along the
# width for one along the channels when both are of one length, or ignore `axes` of Pad-18, and
# MatMul as Reshape + Gemm + Reshape hides attention from engines that know it.
_SKIPPED_PATTERNS = [
    "FusionConvAdd",
    "FusionConvBN",
    "FusionConvMul",
    "FusionConvTransposeAdd",
    "FusionConvTransposeBN",
    "FusionConvTransposeMul",
    "FusionGemm",
    "FusionGemmAdd",
    "FusionGemmMul",
    "FusionPadConv",
]
# Compares all weights with one another; ours are stored once by content anyway.
_SKIPPED_OPTIMIZATIONS = ["weight_tying"]

# Constants larger than this are left to be computed at run time.
_FOLDED_BYTES = 1 << 30

# onnxslim converts tensors through numpy; types numpy lacks do not survive that.
_PLAIN = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.DOUBLE,
    TensorProto.BOOL,
    TensorProto.INT8,
    TensorProto.INT16,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.UINT16,
    TensorProto.UINT32,
    TensorProto.UINT64,
}


def simplify(model: ModelProto) -> ModelProto:
    """A model that computes the same with fewer nodes, its functions inlined and shapes inferred.

    Prints nothing, and never fails: a step that fails leaves the model as it was.

    Args:
        model: The model, with static inputs, none of which is an initializer.

    Returns:
        A copy of the model. Names, types and order of inputs and outputs are the same.
    """
    if model.functions:
        model = _or_as_it_was(onnx.inliner.inline_local_functions, model)
    if _is_plain(model):
        slimmed = _or_as_it_was(_slim, model)
        model = slimmed if _is_sound(slimmed, model) else model
    return _or_as_it_was(_infer_shapes, model)


def _or_as_it_was(step: Callable[[ModelProto], ModelProto], model: ModelProto) -> ModelProto:
    try:
        with _silence():
            return step(model)
    except Exception:  # a third party's bug must not keep a model out
        return model


def _infer_shapes(model: ModelProto) -> ModelProto:
    return onnx.shape_inference.infer_shapes(model, strict_mode=False, data_prop=True)


def _slim(model: ModelProto) -> ModelProto:
    import onnxslim

    copy = ModelProto()
    copy.CopyFrom(model)
    _name_apart(copy.graph.node)
    slimmed: ModelProto = onnxslim.slim(
        copy,
        model_check=False,
        skip_optimizations=_SKIPPED_OPTIMIZATIONS,
        skip_fusion_patterns=_SKIPPED_PATTERNS,
        size_threshold=_FOLDED_BYTES,
    )
    _restore_inputs(slimmed.graph, model.graph)
    _restore_types(slimmed.graph, model.graph)
    return slimmed


def _name_apart(nodes: Iterable[onnx.NodeProto]) -> None:
    """Gives each node a name of its own: onnxslim takes equal names for one node."""
    taken: set[str] = set()
    for index, node in enumerate(nodes):
        node.name = node.name or next(filter(None, node.output), node.op_type)
        if node.name in taken:
            node.name += f"#{index}"
        taken.add(node.name)


def _restore_inputs(graph: GraphProto, original: GraphProto) -> None:
    """Restores the inputs that nothing reads, which onnxslim drops."""
    left = {value.name for value in graph.input}
    if left < {value.name for value in original.input}:
        del graph.input[:]
        graph.input.extend(original.input)


def _restore_types(graph: GraphProto, original: GraphProto) -> None:
    """Drops the shapes that onnxslim inferred: it splits evenly whatever Split is told."""
    del graph.output[:]
    graph.output.extend(original.output)
    made = {name for node in graph.node for name in node.output}
    del graph.value_info[:]
    graph.value_info.extend(value for value in original.value_info if value.name in made)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silences stdout and stderr, also of onnxruntime, with which onnxslim folds constants."""
    sink = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sink):
        warnings.simplefilter("ignore")
        with contextlib.redirect_stderr(sink), _silent_descriptor(2):
            try:
                yield
            finally:
                if "onnxruntime" in sys.modules:  # 2 is its default; onnxslim sets 3
                    sys.modules["onnxruntime"].set_default_logger_severity(2)


@contextlib.contextmanager
def _silent_descriptor(number: int) -> Iterator[None]:
    """Drops what native code writes to a file descriptor."""
    kept = os.dup(number)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), number)
    try:
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)


def _is_plain(model: ModelProto) -> bool:
    """Whether onnxslim is known to keep the meaning of such a model."""
    graph = model.graph
    if model.functions or graph.sparse_initializer:
        return False
    used = {name for node in graph.node for name in node.input}
    used |= {value.name for value in graph.output}
    return all(tensor.data_type in _PLAIN for tensor in graph.initializer) and not any(
        _is_delicate(node, used) for node in graph.node
    )


def _is_delicate(node: onnx.NodeProto, used: set[str]) -> bool:
    """Whether a node has a body, differs from run to run, or has other than tensor values."""
    if node.op_type in RANDOM or node.op_type.startswith(("Sequence", "Optional")):
        return True
    if node.op_type in ("Dropout", "BatchNormalization") and _trains(node, used):
        return True
    for attribute in node.attribute:
        if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            return True
        if attribute.HasField("t") and attribute.t.data_type not in _PLAIN:
            return True
        if attribute.HasField("sparse_tensor"):
            return True
    return False


def _trains(node: onnx.NodeProto, used: set[str]) -> bool:
    masks = not used.isdisjoint(node.output[1:])
    return masks or (node.op_type == "Dropout" and len(node.input) > 2)


def _is_sound(model: ModelProto, original: ModelProto) -> bool:
    """Whether inputs and outputs are unchanged, and each value is made before it is read."""
    if not _same_values(model.graph.input, original.graph.input):
        return False
    if not _same_values(model.graph.output, original.graph.output):
        return False
    if {o.domain: o.version for o in model.opset_import} != {
        o.domain: o.version for o in original.opset_import
    }:
        return False
    known = {value.name for value in model.graph.input}
    known |= {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if not {name for name in node.input if name} <= known:
            return False
        known |= set(node.output)
    return {value.name for value in model.graph.output} <= known


def _same_values(
    values: Iterable[onnx.ValueInfoProto], originals: Iterable[onnx.ValueInfoProto]
) -> bool:
    def interface(value: onnx.ValueInfoProto) -> tuple[str, int]:
        return value.name, value.type.tensor_type.elem_type

    return [interface(v) for v in values] == [interface(v) for v in originals]
