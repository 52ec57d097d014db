"""The writing of parts of a network as ONNX models, in files named by their content."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from qsdnn.errors import ModelError
from qsdnn.files import part_file, write_content, write_pieces
from qsdnn.mapping import mapped
from qsdnn.model.dataflow import is_weight, reads
from qsdnn.model.embedded import attached
from qsdnn.model.layer import Graph
from qsdnn.model.opset import USUAL, Versions, restamp
from qsdnn.model.read import read, tensors_of
from qsdnn.model.shapes import fix_shapes

if TYPE_CHECKING:
    from qsdnn.model.segment import Segment

# IR version 4 made initializers that are no inputs legal, 8 model-local functions.
_OLDEST_IR_VERSION = 8


def write_segment(
    segment: Segment, folder: Path, edit: Callable[[onnx.ModelProto], None] | None = None
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Writes a segment's nodes as an ONNX model.

    The segment's weights stay in the graph's weights file, which is copied into the folder once.

    Args:
        segment: The layers; their graph is not changed.
        folder: The folder to write into.
        edit: A function that changes the model before it is written, and puts any new external data
            into the folder; None changes nothing.

    Returns:
        The file names, the model's first, then those of the weights it reads; and the options
        ``{"nodes": {node name: layer index}, "tensors": {tensor name: layer index}}``. Nodes are
        named ``"{layer index}:{position}"``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = _model(segment)
    weights = segment.graph.weights
    if weights.name in _locations(model):
        _place(weights, folder / weights.name)
    if edit is not None:
        edit(model)
    name = write_content(model.SerializeToString(deterministic=True), ".onnx", folder)
    options = {
        "nodes": {node: layer for node, layer, _ in _named(segment)},
        "tensors": {
            str(value.name): layer
            for _, layer, node in _named(segment)
            for value in node.outputs
            if value.name
        },
    }
    return (name, *_locations(model)), options


def write_original(graph: Graph, folder: Path, reads: Versions = USUAL) -> tuple[str, ...]:
    """Writes the model as it was before it was simplified, with the graph's input shapes.

    Args:
        graph: The graph that was read from the model's file.
        folder: The folder to write into.
        reads: The versions of ONNX that the model may be written in.

    Returns:
        The file names, the model's first, then those of its external data.

    Raises:
        ModelError: The file is not what the graph was read from.
    """
    source = read(graph.path)
    if source.sha256 != graph.sha256:
        raise ModelError(f"{graph.path} has changed since it was read")
    fix_shapes(source.proto, graph.shapes, str(graph.path))
    _rename_outputs(source.proto.graph, graph.outputs)
    restamp(source.proto, reads)
    folder.mkdir(parents=True, exist_ok=True)
    names = {}
    for location, path in source.data.items():
        if location == source.embedded:
            continue
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 24):
                digest.update(chunk)
        names[location] = f"{digest.hexdigest()[:16]}.bin"
        _place(path, folder / names[location])
    for tensor in tensors_of(source.proto.graph):
        location = ExternalDataInfo(tensor).location if uses_external_data(tensor) else ""
        if location in names:
            next(e for e in tensor.external_data if e.key == "location").value = names[location]
    content = source.proto.SerializeToString(deterministic=True)
    if source.embedded is None:
        return (write_content(content, ".onnx", folder), *dict.fromkeys(names.values()))
    with mapped(graph.path) as file:
        pieces = attached(memoryview(content), source.embedded, file)
        return (write_pieces(pieces, ".onnx", folder), *dict.fromkeys(names.values()))


def _rename_outputs(original: onnx.GraphProto, names: Sequence[str]) -> None:
    """Gives outputs the graph's names, in place; names of inputs, or given twice, were changed."""
    for value, name in zip(original.output, names, strict=True):
        if value.name != name:
            original.node.append(onnx.helper.make_node("Identity", [value.name], [name], name))
            value.name = name


def _locations(model: onnx.ModelProto) -> dict[str, None]:
    """The names of the files that a model's external data is in."""
    read = [tensor for tensor in tensors_of(model.graph) if uses_external_data(tensor)]
    return dict.fromkeys(ExternalDataInfo(tensor).location for tensor in read)


def _named(segment: Segment) -> Iterator[tuple[str, int, ir.Node]]:
    """The nodes in topological order, each with its name and its layer."""
    for layer in segment.layers:
        for position, node in enumerate(layer.nodes):
            yield f"{layer.index}:{position}", layer.index, node


def _model(segment: Segment) -> onnx.ModelProto:
    whole = segment.graph.model
    model = onnx.ModelProto(
        ir_version=max(whole.ir_version, _OLDEST_IR_VERSION), producer_name="qsdnn"
    )
    for domain, version in whole.opset_imports.items():
        model.opset_import.append(onnx.helper.make_opsetid(domain, version))
    for function in whole.functions.values():
        model.functions.append(ir.to_proto(function))
    _fill(model.graph, segment)
    restamp(model, segment.reads)
    return model


def _fill(graph: onnx.GraphProto, segment: Segment) -> None:
    graph.name = "segment"
    values = {str(value.name): value for value in segment.graph.model.graph.inputs}
    weights: dict[ir.Value, None] = {}
    for name, _, node in _named(segment):
        proto = ir.to_proto(node)
        proto.name = name
        proto.doc_string = ""
        del proto.metadata_props[:]
        graph.node.append(proto)
        read_values = reads(node)
        values |= {str(value.name): value for value in (*read_values, *node.outputs)}
        weights |= dict.fromkeys(value for value in read_values if is_weight(value))
    for value in weights:
        if value.const_value is not None:
            tensor = ir.to_proto(value.const_value)
            tensor.name = str(value.name)
            graph.initializer.append(tensor)
    graph.input.extend(ir.to_proto(values[name]) for name in segment.inputs)
    graph.output.extend(ir.to_proto(values[name]) for name in segment.outputs)


def _place(source: Path, target: Path) -> None:
    """Copies a file unless it is there. No link: ONNX refuses data with several of them."""
    if target.exists():
        return
    with part_file(target.parent) as file:
        shutil.copyfile(source, file.name)
        os.replace(file.name, target)
