"""The dataflow: which node makes and which nodes read each activation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import onnx_ir as ir

from qsdnn.model.layer import Tensor

# What numpy has without a further package: no bfloat16, no float8, nothing of less than a byte.
_DTYPES = {
    ir.DataType.BOOL: "bool",
    ir.DataType.INT8: "int8",
    ir.DataType.INT16: "int16",
    ir.DataType.INT32: "int32",
    ir.DataType.INT64: "int64",
    ir.DataType.UINT8: "uint8",
    ir.DataType.UINT16: "uint16",
    ir.DataType.UINT32: "uint32",
    ir.DataType.UINT64: "uint64",
    ir.DataType.FLOAT16: "float16",
    ir.DataType.FLOAT: "float32",
    ir.DataType.DOUBLE: "float64",
}


def subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    """The bodies of a control-flow node."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def reads(node: ir.Node) -> tuple[ir.Value, ...]:
    """The values that a node reads, each once, with weights and what its bodies capture."""
    values = [value for value in node.inputs if value is not None]
    values += [value for body in subgraphs(node) for value in _captured(body, node.graph)]
    return tuple(dict.fromkeys(values))


def _captured(body: ir.Graph, outer: object) -> Iterator[ir.Value]:
    """The values of `outer` that a body reads, or hands out as they are."""
    yield from (value for value in body.outputs if value.graph is outer)
    for node in body:
        yield from (value for value in node.inputs if value is not None and value.graph is outer)
        for inner in subgraphs(node):
            yield from _captured(inner, outer)


def is_weight(value: ir.Value) -> bool:
    """Whether a value is known before the network runs."""
    return value.is_initializer() and not value.is_graph_input()


def tensor_of(value: ir.Value) -> Tensor:
    """A value as a tensor, whose shape is None unless all dimensions are known."""
    is_tensor = isinstance(value.type, ir.TensorType)
    dtype = _DTYPES.get(value.dtype, "") if is_tensor and value.dtype is not None else ""
    shape: tuple[int, ...] | None = None
    if value.shape is not None and all(isinstance(size, int) for size in value.shape):
        shape = tuple(int(size) for size in value.shape)  # type: ignore[arg-type]
    return Tensor(name=str(value.name), dtype=dtype, shape=shape)


class Dataflow:
    """The nodes of a graph by index, and the activations between them.

    Attributes:
        nodes: The nodes, in topological order.
        inputs: The activations that each node reads, each once.
        producer: The index of the node that makes an activation; graph inputs are absent.
        consumers: The indices of the nodes that read an activation, ascending.
        kept: The outputs of the graph.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.nodes = tuple(graph)
        self.inputs = [
            tuple(value for value in reads(node) if not is_weight(value)) for node in self.nodes
        ]
        self.producer = {
            value: index for index, node in enumerate(self.nodes) for value in node.outputs
        }
        self.consumers: dict[ir.Value, list[int]] = {}
        for index, values in enumerate(self.inputs):
            for value in values:
                self.consumers.setdefault(value, []).append(index)
        self.kept = frozenset(graph.outputs)

    @cached_property
    def static(self) -> dict[ir.Value, bool]:
        """Whether a caller-owned buffer can hold an activation, for each activation."""
        values = {*self.producer, *self.consumers}
        return {value: tensor_of(value).static for value in values}

    def is_inside(self, value: ir.Value, nodes: set[int]) -> bool:
        """Whether an activation is read by these nodes only, and is no output of the graph."""
        return value not in self.kept and set(self.consumers.get(value, ())) <= nodes

    def used_outputs(self, index: int) -> list[ir.Value]:
        """The outputs of a node that another node reads, or that are outputs of the graph."""
        outputs = self.nodes[index].outputs
        return [v for v in outputs if v in self.consumers or v in self.kept]
