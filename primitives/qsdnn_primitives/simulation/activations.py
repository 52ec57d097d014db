"""Puts nodes into an ONNX model that round activations, computed in fp32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from qsdnn_primitives.quantization.constants import Constants

OPSET = 11
"""The operator version from which on Round exists, and the limits of Clip are inputs."""


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
