"""The layers, their tensors, and the graph they make."""

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
        name: The name, unique in the graph.
        dtype: The name of a numpy dtype. ``""`` for what no caller-owned buffer can hold: strings,
            sequences, optionals, types numpy lacks.
        shape: The static dimensions; ``None`` where the shape depends on data. Only inputs and
            outputs of the whole graph may lack dtype or shape: layers that exchange such values are
            one.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None

    @property
    def static(self) -> bool:
        """Whether a caller-owned buffer can hold the tensor."""
        return bool(self.dtype) and self.shape is not None

    @property
    def size_bytes(self) -> int:
        """The bytes of the tensor's elements; 0 when it is not static."""
        if self.shape is None or not self.dtype:
            return 0
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The smallest thing that gets a choice: a fusion group of ONNX nodes.

    Attributes:
        index: The position of the layer in `Graph.layers`, a topological order.
        name: The name, unique and readable: the main node's name, or its output's.
        kind: The kind of the layer, a word of the field: ``conv``, ``depthwise_conv``, ``gemm``,
            ``matmul``, ``pool``, ``eltwise``, ``norm``, ``softmax``, ``concat``, ``reshape``, …
        nodes: The ONNX nodes in topological order. The first is not always the main one.
        inputs: The activations that the layer reads and others make, in order of first use.
        outputs: The activations that the layer makes and others read.
        pinned: The reason why only onnxruntime may run the layer; empty when any engine may.
        macs: The multiply-accumulates of one inference.
        parameters: The number of weights.
        parameter_bytes: The size of the weights.
        activation_bytes: The size of the layer's outputs.
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
        """The ONNX operators fused into the layer, in order, e.g. ``("Conv", "Add", "Relu")``."""
        return tuple(node.op_type for node in self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A network as layers.

    Attributes:
        name: The network's name, for people.
        path: The file that the network was read from.
        sha256: The sha256 hash of that file's bytes (and of its external data).
        layers: The layers, in topological order, branches contiguous.
        tensors: The activations that cross layers, and all graph inputs and outputs, by name.
        inputs: The names of the graph's inputs, in the model's order; initializers are not inputs.
        outputs: The names of the graph's outputs, in the model's order. Each is made by a layer.
        producer: The index of the layer that makes a tensor, by tensor name; graph inputs are
            absent.
        weights: The one file with every weight larger than a kilobyte, 64-byte aligned; the nodes'
            initializers are `onnx_ir.ExternalTensor`s into it, read lazily.
        model: The simplified network that the layers' nodes belong to.
        shapes: The shapes of the inputs after `--shape`, for the plan.
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
