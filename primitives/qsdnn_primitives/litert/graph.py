"""A segment as one graph, and as a graph for each layer."""

from __future__ import annotations

from collections.abc import Sequence

from qsdnn.errors import BuildError
from qsdnn.model.segment import Segment
from qsdnn.primitive import Precision
from qsdnn_primitives.litert.integers import in_integers
from qsdnn_primitives.litert.model import Subgraph
from qsdnn_primitives.litert.passes import absorb_biases, fuse, pad_with_zeros
from qsdnn_primitives.litert.program import Form, Operator, Program, Tensor
from qsdnn_primitives.litert.translation import lower
from qsdnn_primitives.plain.node import UnsupportedError


def fused(program: Program, outputs: Sequence[Tensor]) -> list[Operator]:
    """The operators of a program, biases and activations inside others."""
    return fuse(absorb_biases(program.operators, outputs), outputs)


def whole(segment: Segment) -> Subgraph:
    """The segment as one graph; inputs and outputs are in ONNX's order, and all differ."""
    program, tensors = Program(), segment.graph.tensors
    inputs = []
    for name in segment.inputs:
        shape = tensors[name].shape
        assert shape is not None
        inputs.append(program.enter(name, shape))
    for layer in segment.layers:
        try:
            lower(layer, program)
        except UnsupportedError as error:
            raise BuildError(f"litert cannot run layer '{layer.name}': {error}") from error
    outputs: list[Tensor] = []
    for name in segment.outputs:
        program.layer = segment.graph.producer[name]
        tensor = program.take(name, Form.PLAIN)
        if tensor in inputs or tensor in outputs:
            program.layer = segment.layers[-1].index  # behind whatever made it
            tensor = program.copy(tensor)
        outputs.append(tensor)
    operators = pad_with_zeros(fused(program, outputs))
    chosen = {
        layer.index
        for layer, choice in zip(segment.layers, segment.choices, strict=True)
        if choice.precision is Precision.INT8
    }
    calibration = segment.calibration
    operators = in_integers(operators, program.names, chosen, calibration, outputs)
    return Subgraph(operators=operators, inputs=inputs, outputs=outputs)


def parts(graph: Subgraph) -> dict[int, Subgraph]:
    """The graph of each layer that has operators, in an order in which they can run."""
    layers: dict[int, list[Operator]] = {}
    readers: dict[Tensor, set[int]] = {}
    for operator in graph.operators:
        layers.setdefault(operator.layer, []).append(operator)
        for tensor in _activations(operator):
            readers.setdefault(tensor, set()).add(operator.layer)
    return {
        layer: Subgraph(
            operators=layers[layer],
            inputs=_read(layers[layer]),
            outputs=[
                tensor
                for operator in layers[layer]
                for tensor in operator.outputs
                if tensor in graph.outputs or readers.get(tensor, set()) - {layer}
            ],
        )
        for layer in sorted(layers)
    }


def _read(operators: Sequence[Operator]) -> list[Tensor]:
    """The tensors that operators read of others, each once."""
    made = {tensor for operator in operators for tensor in operator.outputs}
    read = (tensor for operator in operators for tensor in _activations(operator))
    return list(dict.fromkeys(tensor for tensor in read if tensor not in made))


def _activations(operator: Operator) -> list[Tensor]:
    return [tensor for tensor in operator.inputs if tensor is not None and tensor.data is None]


def numbers(graph: Subgraph) -> dict[Tensor, int]:
    """A number for each activation of a graph."""
    tensors = [*graph.inputs, *(t for operator in graph.operators for t in operator.outputs)]
    return {tensor: number for number, tensor in enumerate(tensors)}
