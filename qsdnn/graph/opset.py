"""Stamps models with versions that the onnxruntime of older boards reads.

Each release of ONNX defines many operators anew, mostly to allow them further types: what a node
means is the same under both definitions. onnxruntime nevertheless refuses a model that is stamped
newer than itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import AttributeProto, TensorProto

from qsdnn.graph.read import bodies_of, tensors_of

# Read by onnxruntime 1.19, the last there is for Python 3.8 and 3.9.
IR_VERSION = 10
OPSET = 21
# Types that these versions have in all operators that later ones have them in.
_TYPES = {
    TensorProto.UNDEFINED,  # of a value whose type is not written down
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
    TensorProto.STRING,
}
_DOMAINS = ("", "ai.onnx")
# Attributes that are types.
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "stash_type")


def restamp(model: onnx.ModelProto) -> None:
    """Stamps a model with these versions, in place; with `OPSET` if it means the same under it.

    Under an operator's older definition a node means the same if that one allows its attributes and
    as many inputs and outputs, and if no value is of a type that is newer. Otherwise the operators
    stay as they are, as those of a model with functions do: a board that cannot read it says so.
    """
    # Says which fields there may be; a reader passes over those it does not know.
    model.ir_version = min(model.ir_version, IR_VERSION)
    if model.functions or not _types(model.graph) <= _TYPES:
        return
    nodes = [node for node in _nodes(model.graph) if node.domain in _DOMAINS]
    for stamp in model.opset_import:
        if stamp.domain in _DOMAINS and all(_is_old(node, stamp.version) for node in nodes):
            stamp.version = min(stamp.version, OPSET)


def _is_old(node: onnx.NodeProto, version: int) -> bool:
    """Whether a node means the same under `OPSET`, or a version that is older anyway."""
    if version <= OPSET:
        return True
    try:
        new = onnx.defs.get_schema(node.op_type, version, "")
        old = onnx.defs.get_schema(node.op_type, OPSET, "")
    except onnx.defs.SchemaError:
        return False
    if new.since_version == old.since_version:
        return True
    defaults = all(
        old.attributes[name].default_value == new.attributes[name].default_value
        for name in old.attributes.keys() & new.attributes.keys()
    )
    return (
        defaults
        and {attribute.name for attribute in node.attribute} <= old.attributes.keys()
        and old.min_input <= len(node.input) <= old.max_input
        and old.min_output <= len(node.output) <= old.max_output
    )


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of a graph and of its bodies."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in bodies_of(attribute):
                yield from _nodes(body)


def _types(graph: onnx.GraphProto) -> set[int]:
    """The types of its tensors, as far as they are written down."""
    found = {tensor.data_type for tensor in tensors_of(graph)}
    for values in (graph.input, graph.output, graph.value_info):
        found |= {value.type.tensor_type.elem_type for value in values}
    for node in _nodes(graph):
        for attribute in node.attribute:
            if attribute.type == AttributeProto.INT and attribute.name in _TYPE_ATTRIBUTES:
                found.add(attribute.i)
    return found
