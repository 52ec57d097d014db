"""The reading of a network, and of its layers in the order that they run in."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from qsdnn.model.acceptance import check_accepted
from qsdnn.model.cluster import cluster
from qsdnn.model.dataflow import Dataflow, tensor_of
from qsdnn.model.fold import fold_affine
from qsdnn.model.fuse import Group, fuse
from qsdnn.model.layer import Graph, Layer, Tensor
from qsdnn.model.read import read
from qsdnn.model.shapes import drop_default_inputs, fix_shapes
from qsdnn.model.simplify import simplify
from qsdnn.model.weights import attach, detach, externalize
from qsdnn.model.workload import macs, parameter_bytes, parameters, weights_of


def load_graph(
    path: str | Path,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    workdir: Path | None = None,
) -> Graph:
    """Reads an ONNX file, simplifies it, and fuses its nodes into layers. Prints nothing.

    Args:
        path: The ONNX file.
        shapes: The dimensions by input name, for inputs that are dynamic in the file.
        workdir: The folder that the weights are written into; None takes a temporary one, gone with
            the process.

    Raises:
        InputError: `shapes` names an unknown input.
        ModelError: The file cannot be read, an input's shape is not known or contradicted, or
            onnxruntime refuses the network.
    """
    source = read(Path(path))
    static = fix_shapes(source.proto, shapes or {}, str(path))
    drop_default_inputs(source.proto)
    large = detach(source.proto.graph, source.data)
    check_accepted(source, reshaped=bool(shapes))
    model = _simplified(source.proto, large)
    weights = externalize(model, workdir or _session_folder())
    flow = Dataflow(model.graph)
    layers = _layers(flow, cluster(flow, fuse(flow)))
    return Graph(
        name=source.path.stem,
        path=source.path,
        sha256=source.sha256,
        layers=layers,
        tensors=_tensors(model.graph, layers),
        inputs=tuple(str(value.name) for value in model.graph.inputs),
        outputs=tuple(str(value.name) for value in model.graph.outputs),
        producer={tensor: layer.index for layer in layers for tensor in layer.outputs},
        weights=weights,
        model=model,
        shapes=static,
    )


@cache
def _session_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="qsdnn-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _simplified(proto: onnx.ModelProto, weights: Mapping[str, ir.TensorProtocol]) -> ir.Model:
    """The model with constants folded and shapes inferred, each output made by a node."""
    model = ir.from_proto(simplify(proto))
    attach(model.graph, weights)
    for prepare in (
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.TopologicalSortPass(),
        passes.NameFixPass(),
    ):
        prepare(model)
    fold_affine(model.graph)
    passes.RemoveUnusedNodesPass()(model)
    _own_outputs(model.graph, _names(proto.graph))
    return model


def _names(graph: onnx.GraphProto) -> set[str]:
    """The names of all values of a graph."""
    return {value.name for value in graph.input} | {n for node in graph.node for n in node.output}


def _own_outputs(graph: ir.Graph, taken: set[str]) -> None:
    """Puts an Identity before each output that is an input, a constant, or an output twice.

    Args:
        graph: The graph, changed in place.
        taken: The names that no output may get.
    """
    for position, value in enumerate(list(graph.outputs)):
        again = any(value is other for other in graph.outputs[:position])
        if value.producer() is not None and not again:
            continue
        node = ir.node("Identity", [value])
        output = node.outputs[0]
        output.type, output.shape = value.type, value.shape
        if value.is_initializer():
            output.name, value.name = value.name, f"{value.name}_constant"
        else:
            output.name = _unique(f"{value.name}_{position}", taken)
        graph.append(node)
        graph.outputs[position] = output


def _layers(flow: Dataflow, groups: Sequence[Group]) -> tuple[Layer, ...]:
    home = {node: index for index, group in enumerate(groups) for node in group.nodes}
    before: list[set[int]] = [set() for _ in groups]
    for index, values in enumerate(flow.inputs):
        makers = {home[flow.producer[value]] for value in values if value in flow.producer}
        before[home[index]] |= makers - {home[index]}
    names: set[str] = set()
    order = topological_order(before)
    return tuple(_layer(flow, index, groups[at], names) for index, at in enumerate(order))


def _layer(flow: Dataflow, index: int, group: Group, names: set[str]) -> Layer:
    members = set(group.nodes)
    nodes = tuple(flow.nodes[i] for i in group.nodes)
    inputs = dict.fromkeys(
        value
        for i in group.nodes
        for value in flow.inputs[i]
        if flow.producer.get(value) not in members
    )
    outputs = [
        value
        for i in group.nodes
        for value in flow.used_outputs(i)
        if not flow.is_inside(value, members)
    ]
    weights = weights_of(nodes)
    return Layer(
        index=index,
        name=_unique(flow.nodes[group.main].name or str(outputs[0].name), names),
        kind=group.kind,
        nodes=nodes,
        inputs=tuple(str(value.name) for value in inputs),
        outputs=tuple(str(value.name) for value in outputs),
        pinned=group.pinned,
        macs=sum(map(macs, nodes)),
        parameters=parameters(weights),
        parameter_bytes=parameter_bytes(weights),
        activation_bytes=sum(tensor_of(value).size_bytes for value in outputs),
    )


def _unique(name: str, taken: set[str]) -> str:
    """The name, numbered where the name is taken already."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


def _tensors(graph: ir.Graph, layers: Sequence[Layer]) -> dict[str, Tensor]:
    """The activations between layers, and the graph's inputs and outputs."""
    crossing = {name for layer in layers for name in (*layer.inputs, *layer.outputs)}
    made = [value for node in graph for value in node.outputs if value.name in crossing]
    return {str(value.name): tensor_of(value) for value in (*graph.inputs, *made)}


def topological_order(predecessors: Sequence[Collection[int]]) -> list[int]:
    """A topological order that walks a branch to its end before it starts the next.

    The item that became ready last runs first, so few tensors wait to be read at any time. Of
    several that become ready together the first by index runs first: the order is deterministic.

    Args:
        predecessors: The items that come before each item.

    Raises:
        ValueError: The items form a cycle.
    """
    successors: list[list[int]] = [[] for _ in predecessors]
    waiting = [len(set(before)) for before in predecessors]
    for item, before in enumerate(predecessors):
        for other in set(before):
            successors[other].append(item)
    ready = [item for item in reversed(range(len(waiting))) if not waiting[item]]
    order: list[int] = []
    while ready:
        item = ready.pop()
        order.append(item)
        for successor in reversed(successors[item]):
            waiting[successor] -= 1
            if not waiting[successor]:
                ready.append(successor)
    if len(order) != len(waiting):
        raise ValueError("the graph has a cycle")
    return order
