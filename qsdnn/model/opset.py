"""The versions stamped on models, so that the onnxruntime of older boards reads them.

Each release of ONNX defines many operators anew, mostly to allow them further types: what a node
means is then the same under both definitions. onnxruntime nevertheless refuses a model that is
stamped newer than itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import onnx
from onnx import TensorProto, TypeProto

from qsdnn.model.read import bodies_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The newest versions that a reader of models takes.

    Attributes:
        ir_version: The version of the file format.
        opset: The version of the operators.
    """

    ir_version: int
    opset: int


USUAL = Versions(ir_version=10, opset=21)
"""The versions of boards that do not say: onnxruntime 1.19's, the last for Python 3.8 and 3.9."""


def versions_read(capabilities: Iterable[str]) -> Versions:
    """The versions that an engine reads, told by capabilities like ``ir:10`` and ``opset:21``."""
    told = {name: number for name, _, number in (word.partition(":") for word in capabilities)}
    return Versions(
        ir_version=int(told.get("ir", USUAL.ir_version)),
        opset=int(told.get("opset", USUAL.opset)),
    )


_DOMAINS = ("", "ai.onnx")
# Computes otherwise since a later definition, whose schema only has more in it.
_CHANGED = frozenset({"Attention"})


def restamp(model: onnx.ModelProto, reads: Versions) -> None:
    """Stamps a model newer than these versions with them, in place, if it then means the same.

    Where a node may mean something else under its operator's older definition the operators stay as
    they are, as those of a model with functions do: a board that cannot read the model says so.
    """
    # Says which fields there may be; a reader passes over those it does not know.
    model.ir_version = min(model.ir_version, reads.ir_version)
    for stamp in model.opset_import:
        newer = stamp.domain in _DOMAINS and stamp.version > reads.opset
        if newer and not model.functions and _is_same(model, stamp.version, reads.opset):
            stamp.version = reads.opset


def _is_same(model: onnx.ModelProto, new: int, old: int) -> bool:
    """Whether all nodes mean the same under both versions."""
    nodes = [n for graph in _graphs(model.graph) for n in graph.node if n.domain in _DOMAINS]
    redefined = [node for node in nodes if not _is_kept(node.op_type, new, old)]
    if any(not _is_extended(node.op_type, new, old) for node in redefined):
        return False
    if not redefined:
        return True
    types = _types(model)
    return all(_allows(_schema(node.op_type, old), node, types) for node in redefined)


@cache
def _schema(op_type: str, version: int) -> onnx.defs.OpSchema:
    return onnx.defs.get_schema(op_type, version, "")


@cache
def _is_kept(op_type: str, new: int, old: int) -> bool:
    """Whether both versions have an operator by the same definition."""
    try:
        return bool(_schema(op_type, new).since_version == _schema(op_type, old).since_version)
    except onnx.defs.SchemaError:
        return False


@cache
def _is_extended(op_type: str, new: int, old: int) -> bool:
    """Whether a newer definition allows what the older one does not, and is the same besides.

    An operator that was defined anew with nothing changed that a schema tells means something else.
    """
    if op_type in _CHANGED:
        return False
    try:
        first, last = _schema(op_type, old), _schema(op_type, new)
    except onnx.defs.SchemaError:
        return False
    if first.deprecated:
        return False
    steps = [
        _schema(op_type, version)
        for version in range(first.since_version, last.since_version + 1)
        if _schema(op_type, version).since_version == version
    ]
    return all(_extends(later, earlier) for earlier, later in pairwise(steps))


def _extends(new: onnx.defs.OpSchema, old: onnx.defs.OpSchema) -> bool:
    kept = old.attributes.keys() & new.attributes.keys()
    return _told(new) != _told(old) and all(
        old.attributes[name].type == new.attributes[name].type
        and old.attributes[name].default_value == new.attributes[name].default_value
        for name in kept
    )


def _told(schema: onnx.defs.OpSchema) -> tuple[object, ...]:
    """The part of a schema that tells the types, attributes, inputs and outputs there may be."""
    return (
        sorted((c.type_param_str, *sorted(c.allowed_type_strs)) for c in schema.type_constraints),
        sorted((name, attribute.required) for name, attribute in schema.attributes.items()),
        [(value.name, value.type_str, value.option) for value in (*schema.inputs, *schema.outputs)],
    )


def _allows(
    schema: onnx.defs.OpSchema, node: onnx.NodeProto, types: Mapping[str, str | None]
) -> bool:
    """Whether an operator's definition knows all of a node: attributes, and values by type."""
    named = {attribute.name for attribute in node.attribute}
    needed = {name for name, attribute in schema.attributes.items() if attribute.required}
    return (
        needed <= named <= schema.attributes.keys()
        and schema.min_input <= len(node.input) <= schema.max_input
        and schema.min_output <= len(node.output) <= schema.max_output
        and _allows_types(schema.inputs, node.input, types)
        and _allows_types(schema.outputs, node.output, types)
    )


def _allows_types(
    formal: Iterable[onnx.defs.OpSchema.FormalParameter],
    names: Iterable[str],
    types: Mapping[str, str | None],
) -> bool:
    parameters = list(formal)
    last = len(parameters) - 1  # which may be variadic
    return all(
        types.get(name) in parameters[min(position, last)].types
        for position, name in enumerate(names)
        if name
    )


def _types(model: onnx.ModelProto) -> dict[str, str | None]:
    """The types of a model's values as schemas write them; None where bodies differ on a name."""
    lean = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    lean.graph.node.extend(model.graph.node)
    lean.graph.input.extend(model.graph.input)
    lean.graph.output.extend(model.graph.output)
    lean.graph.value_info.extend(model.graph.value_info)
    fed = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:  # weights are many bytes, and their types few
        if tensor.name not in fed:
            lean.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    inferred = onnx.shape_inference.infer_shapes(lean)
    found: dict[str, str | None] = {}
    for graph in _graphs(inferred.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            _add(found, value.name, _written(value.type))
        for tensor in graph.initializer:
            _add(found, tensor.name, _tensor(tensor.data_type))
    return found


def _add(types: dict[str, str | None], name: str, told: str) -> None:
    types[name] = told if types.get(name, told) == told else None


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph itself, and the bodies in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in bodies_of(attribute):
                yield from _graphs(body)


def _written(kind: TypeProto) -> str:
    """A type as schemas write it, e.g. ``seq(tensor(float))``; empty when it is not known."""
    if kind.HasField("tensor_type"):
        return _tensor(kind.tensor_type.elem_type)
    for name, field in (("seq", "sequence_type"), ("optional", "optional_type")):
        if kind.HasField(field):
            return f"{name}({_written(getattr(kind, field).elem_type)})"
    return ""


def _tensor(elements: int) -> str:
    return f"tensor({TensorProto.DataType.Name(elements).lower()})"
