"""Layers, their tensors, and the graph they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # half a second to import
    import onnx_ir as ir


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An activation that crosses between layers, or between a layer and the outside.

    Attributes:
        name: Unique in the graph.
        dtype: A numpy dtype name. ``""`` for what no caller-owned buffer can hold: strings,
            sequences, optionals, types numpy lacks.
        shape: Static dimensions; ``None`` where the shape depends on data. Only inputs and outputs
            of the whole graph may lack dtype or shape: layers that exchange such values are one.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None

    @property
    def static(self) -> bool:
        """Whether a caller-owned buffer can hold it."""
        return bool(self.dtype) and self.shape is not None

    @property
    def size_bytes(self) -> int:
        """Bytes of its elements; 0 when not static."""
        if self.shape is None or not self.dtype:
            return 0
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The smallest thing that gets a choice: a fusion group of ONNX nodes.

    Attributes:
        index: Its position in `Graph.layers`, a topological order.
        name: Unique and readable: the main node's name, or its output's.
        kind: A word of the field: ``conv``, ``depthwise_conv``, ``gemm``, ``matmul``, ``pool``,
            ``eltwise``, ``norm``, ``softmax``, ``concat``, ``reshape``, …
        nodes: The ONNX nodes in topological order. The first is not always the main one.
        inputs: Activations it reads that are made outside it, in order of first use.
        outputs: Activations it makes that are read outside it.
        pinned: Why only onnxruntime may run it; empty when any engine may.
        macs: Multiply-accumulates for one inference.
        parameters: Number of weights.
        parameter_bytes: Size of the weights.
        activation_bytes: Size of its outputs.
    """

    index: int
    name: str
    kind: str
    nodes: tuple[ir.Node, ...] = field(repr=False)
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    pinned: str = ""
    macs: int = 0
    parameters: int = 0
    parameter_bytes: int = 0
    activation_bytes: int = 0

    @property
    def op_types(self) -> tuple[str, ...]:
        """The ONNX operators fused into it, in order, e.g. ``("Conv", "Add", "Relu")``."""
        return tuple(node.op_type for node in self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A network as layers.

    Attributes:
        name: For people.
        path: The file it came from.
        sha256: Of that file's bytes (and of its external data).
        layers: In topological order, branches contiguous.
        tensors: Every activation that crosses layers, and all graph inputs and outputs, by name.
        inputs: Names of the graph's inputs, in the model's order; initializers are not inputs.
        outputs: Names of its outputs, in the model's order. Each is made by a layer.
        producer: Layer index by tensor name; graph inputs are absent.
        weights: One file with every weight larger than a kilobyte, 64-byte aligned; the nodes'
            initializers are `onnx_ir.ExternalTensor`s into it, read lazily.
        model: The simplified network the layers' nodes belong to.
        shapes: Input shapes after `--shape`, for the plan.
    """

    name: str
    path: Path
    sha256: str
    layers: tuple[Layer, ...]
    tensors: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    producer: Mapping[str, int]
    weights: Path
    model: ir.Model = field(repr=False)
    shapes: Mapping[str, tuple[int, ...]]
