"""Precisions by layer inside one ONNX graph: Cast nodes between layers, and weights converted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from qsdnn.primitive import Precision
from qsdnn_primitives.quantization.constants import Constants

NARROW: Mapping[Precision, int] = {
    Precision.FP16: TensorProto.FLOAT16,
    Precision.BF16: TensorProto.BFLOAT16,
}
"""ONNX's types of the precisions that tensors are stored in; other precisions store float32."""

_LARGEST = np.finfo(np.float16).max


class Casting:
    """A graph in which some layers get other types. A tensor has one form for each type, by name.

    The form in float32 has the tensor's own name, others end in ``/fp16`` or ``/bf16``. A form that
    is missing is made of the one that there is, once, where it is first read.

    Args:
        graph: The graph, changed in place; its nodes are named ``"{layer index}:{position}"``.
        floats: The names of the tensors in float32.
        folder: The folder of the graph's external data, which gets the converted weights.
    """

    def __init__(self, graph: onnx.GraphProto, floats: Collection[str], folder: Path) -> None:
        self._graph = graph
        self._floats = floats
        self._constants = Constants(graph, folder)
        self._written: list[onnx.NodeProto] = []
        self._forms = {value.name: {Precision.FP32} for value in graph.input}
        self._casts: dict[str, int] = {}

    def apply(self, wanted: Mapping[int, Precision]) -> Mapping[str, int]:
        """Gives the layers their types.

        Args:
            wanted: The precision of each layer that is to be stored in less than float32, by index.

        Returns:
            The layer of each Cast that was added, by the node's name: it is the layer that reads
            what the Cast makes, or at an output of the graph the one that made the tensor.
        """
        nodes, makers = list(self._graph.node), {}
        for node in nodes:
            index = int(node.name.partition(":")[0])
            precision = wanted.get(index, Precision.FP32)
            for i, name in enumerate(node.input):
                if name in self._floats:
                    node.input[i] = self._form(name, precision, index)
            for i, name in enumerate(node.output):
                if name in self._floats:
                    self._forms[name], makers[name] = {precision}, index
                    node.output[i] = _name(name, precision)
            self._written.append(node)
        for value in self._graph.output:
            if value.name in makers:
                self._form(value.name, Precision.FP32, makers[value.name])
        del self._graph.node[:]
        self._graph.node.extend(self._written)
        self._constants.prune()
        return self._casts

    def _form(self, name: str, precision: Precision, index: int) -> str:
        """The name of a tensor's form, which is made for a layer where it is missing."""
        made = _name(name, precision)
        if name in self._constants:
            return self._constant(name, precision)
        forms = self._forms[name]
        if precision not in forms:
            node = f"{index}:cast:{made}"
            to = NARROW.get(precision, TensorProto.FLOAT)
            source = _name(name, sorted(forms)[0])
            self._written.append(onnx.helper.make_node("Cast", [source], [made], node, to=to))
            self._casts[node] = index
            forms.add(precision)
        return made

    def _constant(self, name: str, precision: Precision) -> str:
        if precision not in NARROW:
            return name
        made = _name(name, precision)
        if made not in self._constants:
            values = self._constants[name]
            narrow = _half(values) if precision is Precision.FP16 else _bfloat16_bits(values)
            self._constants.add(made, narrow)
            self._graph.initializer[-1].data_type = NARROW[precision]
        return made


def _name(name: str, precision: Precision) -> str:
    return f"{name}/{precision}" if precision in NARROW else name


def _half(values: NDArray[Any]) -> NDArray[Any]:
    """Values in float16; those beyond its range, as the -inf of a mask, become its largest."""
    narrow: NDArray[Any] = np.clip(values, -_LARGEST, _LARGEST).astype(np.float16)
    return narrow


def _bfloat16_bits(values: NDArray[Any]) -> NDArray[Any]:
    """The bits of values in bfloat16, which numpy lacks: rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).reshape(values.shape).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isfinite(values), rounded, bits >> 16).astype(np.uint16)
