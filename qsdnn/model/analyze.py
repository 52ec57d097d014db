"""The cost of a network, layer by layer, before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qsdnn.model.layer import Graph, Layer, Tensor

Shape = tuple[int, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """The cost of one layer.

    Attributes:
        index: The position of the layer in the graph.
        name: The name of the layer.
        kind: The kind of the layer: a word of the field, e.g. ``conv``.
        ops: The ONNX operators that are fused into the layer.
        input_shapes: The shapes of the layer's input activations; None where a shape depends on
            data.
        output_shapes: The shapes of the layer's output activations; None where a shape depends on
            data.
        macs: The multiply-accumulates of one inference.
        parameters: The number of weights, batch normalisation folded into its convolution.
        parameter_bytes: The size of the weights at the bits asked for.
        input_bytes: The size of the activations that the layer reads, each counted once.
        activation_bytes: The size of the activations that the layer makes.
        pinned: The reason why only onnxruntime may run the layer; empty when any engine may.
    """

    index: int
    name: str
    kind: str
    ops: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]
    macs: int
    parameters: int
    parameter_bytes: float
    input_bytes: int
    activation_bytes: int
    pinned: str

    @property
    def intensity(self) -> float:
        """The arithmetic intensity: operations (2 · MACs) a byte of inputs, weights and outputs.

        Source: Williams et al. 2009, "Roofline", with every byte crossing to memory once.
        """
        touched = self.input_bytes + self.parameter_bytes + self.activation_bytes
        return 2 * self.macs / touched if touched else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The cost of the network.

    Attributes:
        macs: The multiply-accumulates of one inference.
        parameters: The number of weights.
        parameter_bytes: The size of the weights at the bits asked for.
        activation_bytes: The size of all activations that layers make.
        peak_activation_bytes: The largest size of activations alive at one time, graph inputs and
            outputs included, when layers run in order and a tensor dies after its last reader.
    """

    macs: int
    parameters: int
    parameter_bytes: float
    activation_bytes: int
    peak_activation_bytes: int

    @property
    def flops(self) -> int:
        """The floating-point operations: two for each multiply-accumulate."""
        return 2 * self.macs


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """The cost of each layer, and of the whole network."""

    rows: tuple[LayerRow, ...]
    totals: Totals


def analyze(graph: Graph, *, bits: int = 32) -> Analysis:
    """Counts the costs of a network.

    Args:
        graph: The network.
        bits: The bits of one stored weight; activations keep the size they have in the model.
    """
    rows = tuple(_row(layer, graph.tensors, bits) for layer in graph.layers)
    totals = Totals(
        macs=sum(row.macs for row in rows),
        parameters=sum(row.parameters for row in rows),
        parameter_bytes=sum(row.parameter_bytes for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
        peak_activation_bytes=peak_activation_bytes(graph),
    )
    return Analysis(rows=rows, totals=totals)


def peak_activation_bytes(graph: Graph) -> int:
    """The largest size of activations alive at one time: see `Totals`."""
    end = len(graph.layers)
    last_reader: dict[str, int] = {}
    for layer in graph.layers:
        last_reader |= dict.fromkeys(layer.inputs, layer.index)
    last_reader |= dict.fromkeys(graph.outputs, end)
    change = [0] * (end + 1)  # bytes that come alive less those that died, before each layer
    for name, tensor in graph.tensors.items():
        born = graph.producer.get(name, 0)
        dies = last_reader.get(name, born)
        change[born] += tensor.size_bytes
        if dies < end:
            change[dies + 1] -= tensor.size_bytes
    alive = peak = 0
    for step in change[:end]:
        alive += step
        peak = max(peak, alive)
    return peak


def _row(layer: Layer, tensors: Mapping[str, Tensor], bits: int) -> LayerRow:
    return LayerRow(
        index=layer.index,
        name=layer.name,
        kind=layer.kind,
        ops=layer.op_types,
        input_shapes=tuple(tensors[name].shape for name in layer.inputs),
        output_shapes=tuple(tensors[name].shape for name in layer.outputs),
        macs=layer.macs,
        parameters=layer.parameters,
        parameter_bytes=layer.parameters * bits / 8,
        input_bytes=sum(tensors[name].size_bytes for name in layer.inputs),
        activation_bytes=layer.activation_bytes,
        pinned=layer.pinned,
    )
