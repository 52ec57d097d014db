"""The part that simulators share: primitives of rounded layers, rounded weights and activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from qsdnn.model.dataflow import is_weight
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn.quantize.simulator import ENGINE, EXACT, Part
from qsdnn_primitives.quantization.constants import Constants
from qsdnn_primitives.quantization.qdq import PRODUCTS, channel_axis

Array = NDArray[np.float32]

FP32_BITS = 32
OPSET = 11
"""The operator version from which on Round exists, and the limits of Clip are inputs."""


def primitive(name: str, part: Part, bits: int, precision: Precision = Precision.FP32) -> Primitive:
    """The primitive that stands for a rounded layer in the choices of a segment.

    Args:
        name: The name of the simulator.
        part: The part of the layer that is rounded.
        bits: The number of bits to round to.
        precision: The precision that the board is to treat the layer as: int8 keeps its passes
            away.
    """
    algorithm = f"{name}:{part}:{bits}"
    return Primitive(engine=ENGINE, algorithm=algorithm, precision=precision, family=EXACT.family)


def chosen(segment: Segment, *parts: Part) -> Iterator[tuple[Layer, int]]:
    """The layers of a segment of which one of these parts is rounded, with the number of bits."""
    for layer, choice in zip(segment.layers, segment.choices, strict=True):
        if choice != EXACT:
            _, part, bits = choice.algorithm.split(":")
            if part in parts:
                yield layer, int(bits)


def products(layer: Layer) -> dict[str, ir.Node]:
    """The nodes of a layer that multiply with constants, by their names in `write_segment`."""
    return {
        f"{layer.index}:{position}": node
        for position, node in enumerate(layer.nodes)
        if node.op_type in PRODUCTS and node.domain in ("", "ai.onnx") and _has_weights(node)
    }


def weights_of(node: ir.Node) -> Array:
    """The constant that a product multiplies with."""
    value = node.inputs[1]
    assert value is not None and value.const_value is not None
    return np.asarray(value.const_value.numpy())


def packed_bytes(count: int, bits: int) -> int:
    """The size in bytes of `count` numbers of `bits` bits, with nothing between them."""
    return ceil(count * bits / 8)


def fp32_bytes(layer: Layer) -> int:
    """The size in bytes of the constants of a layer's products, in fp32."""
    return sum(packed_bytes(weights_of(n).size, FP32_BITS) for n in products(layer).values())


def round_weights(
    model: onnx.ModelProto,
    rounds: Mapping[str, Callable[[Array, int], Array]],
    folder: Path,
) -> None:
    """Replaces the weights of products by rounded ones.

    Args:
        model: The model, changed in place. Its weights may be external, in `folder`.
        rounds: The rounding by node name, a function of the weights and the axis of their output
            channels.
        folder: The folder that gets the larger weights, as files.
    """
    constants = Constants(model.graph, folder)
    for node in model.graph.node:
        if node.name in rounds:
            values = rounds[node.name](constants[node.input[1]], channel_axis(node))
            node.input[1] = constants.add(f"{node.name}/rounded", values)
    constants.prune()


def _has_weights(node: ir.Node) -> bool:
    weights = node.inputs[1]
    return weights is not None and is_weight(weights) and weights.dtype == ir.DataType.FLOAT


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid of evenly spaced numbers.

    Attributes:
        step: The distance of two neighbouring numbers.
        low: The least number, in steps.
        high: The greatest number, in steps.
    """

    step: float
    low: int
    high: int


def round_activations(
    model: onnx.ModelProto,
    reads: Mapping[str, Grid],
    makes: Mapping[str, Grid],
    folder: Path,
) -> None:
    """Rounds the inputs of chosen nodes, and chosen tensors for all their readers.

    Args:
        model: The model, changed in place; its operators are of version `OPSET` or newer.
        reads: The grid of a node's input 0, by the node's name.
        makes: The grid of a tensor that a node makes, by the tensor's name.
        folder: The folder of the model's external data.
    """
    graph = model.graph
    nodes = list(graph.node)
    constants = Constants(graph, folder)
    written: list[onnx.NodeProto] = []
    known: set[str] = set()

    def rounded(source: str, grid: Grid, target: str) -> str:
        """Writes nodes that round a tensor, unless they are there; returns the rounded name."""
        if target not in known:
            known.add(target)
            written.extend(_rounding(constants, source, grid, target))
        return target

    for node in nodes:
        if node.name in reads:
            grid, source = reads[node.name], node.input[0]
            node.input[0] = rounded(source, grid, f"{source}/{grid.step:g}:{grid.high}")
        made = [name for name in node.output if name in makes]
        node.output[:] = [f"{name}/exact" if name in made else name for name in node.output]
        written.append(node)
        for name in made:
            rounded(f"{name}/exact", makes[name], name)
    del graph.node[:]
    graph.node.extend(written)


def _rounding(constants: Constants, source: str, grid: Grid, target: str) -> list[onnx.NodeProto]:
    """Four nodes: to steps, to whole steps, into the limits, and back."""

    def number(value: float) -> str:
        return constants.add(f"number {value!r}", np.asarray(value, np.float32))

    steps = [f"{target}/{part}" for part in ("steps", "whole", "within")]
    make = onnx.helper.make_node
    low, high = number(float(grid.low)), number(float(grid.high))
    return [
        make("Mul", [source, number(1 / grid.step)], [steps[0]], steps[0]),
        make("Round", [steps[0]], [steps[1]], steps[1]),
        make("Clip", [steps[1], low, high], [steps[2]], steps[2]),
        make("Mul", [steps[2], number(grid.step)], [target], f"{target}/rounded"),
    ]
