"""Writes nodes in onnxruntime's blocked layout, or keeps them out of it.

onnxruntime rewrites convolutions for that layout by itself, but always puts a conversion at its
session's inputs and outputs. Where a tensor is to be handed over as it lies in memory, the host
half does what onnxruntime would do: convolutions and pools in the domain ``com.microsoft.nchwc``,
weights reordered, sums and activations inside the convolution, conversions (ReorderInput,
ReorderOutput) where a node that cannot run blocked is met.

Weights are blocked on both sides, OIHW<c>i<c>o; the weights of a depthwise convolution, or of one
whose input is not blocked, on the output's side alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qsdnn.model.segment import block_of
from qsdnn_primitives.onnxruntime.nodes import FUSED, POOLS, reads_plain
from qsdnn_primitives.quantization.constants import Constants

DOMAIN = "com.microsoft.nchwc"

# The suffix that onnxruntime gives its own blocked nodes, by which the profile's reader knows them.
_SUFFIX = "_nchwc"


def write_blocked(
    model: onnx.ModelProto,
    nodes: Collection[str],
    ports: Mapping[str, int],
    layout: str,
    folder: Path,
) -> None:
    """Rewrites nodes of a model in the blocked layout.

    Args:
        model: The model, changed in place. Its weights may be external, in `folder`.
        nodes: The names of the nodes that can run in the layout.
        ports: The number of channels of each input and output that is in the layout, by name.
        layout: The blocked layout, e.g. ``nchw16c``.
        folder: The folder that gets the reordered weights, in files named by their content.
    """
    _Rewriting(model.graph, nodes, ports, layout, folder).apply()
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))


class _Rewriting:
    """The rewriting of a graph. A tensor has up to two forms, by name: ONNX's, and blocked."""

    def __init__(
        self,
        graph: onnx.GraphProto,
        nodes: Collection[str],
        ports: Mapping[str, int],
        layout: str,
        folder: Path,
    ) -> None:
        self._graph = graph
        self._nodes = nodes
        self._ports = ports
        self._layout = layout
        self._constants = Constants(graph, folder)
        self._written: list[onnx.NodeProto] = []
        given = {value.name for value in graph.input}
        self._blocked = {name: ports[name] for name in ports if name in given}  # channel counts
        self._plain = {value.name for value in graph.input} - {*ports}
        self._readers = Counter(name for node in graph.node for name in node.input)
        self._readers.update(value.name for value in graph.output)
        self._convs: dict[str, onnx.NodeProto] = {}

    def apply(self) -> None:
        nodes = list(self._graph.node)
        for node in nodes:
            self._write(node)
        for value in self._graph.output:
            if value.name in self._ports:
                self._as_blocked(value.name, self._ports[value.name])
            else:
                self._as_plain(value.name)
        del self._graph.node[:]
        self._graph.node.extend(self._written)
        self._constants.prune()

    def _write(self, node: onnx.NodeProto) -> None:
        if node.name in self._nodes and node.op_type == "Conv":
            self._write_conv(node)
        elif node.name in self._nodes and all(
            name in self._blocked for name in node.input if name and name not in self._constants
        ):
            self._write_blocked(node)
        else:
            for i, name in enumerate(node.input):
                node.input[i] = self._as_plain(name)
            for i, name in enumerate(node.output):
                self._plain.add(name)
                node.output[i] = self._plain_name(name)
            self._written.append(node)

    def _write_conv(self, node: onnx.NodeProto) -> None:
        (source, name), made = node.input[:2], node.output[0]
        weight = self._constants[name]
        outputs, inputs, group = *weight.shape[:2], _group(node)
        plain = group == 1 and reads_plain(inputs, self._layout)
        node.input[0] = (
            self._as_plain(source) if plain else self._as_blocked(source, inputs * group)
        )
        sides = "o" if plain or group > 1 else "io"
        values = _reordered(weight, block_of(self._layout), sides)
        node.input[1] = self._constants.add(f"{name}/{self._layout}/{sides}", values)
        self._make(node, made, outputs)
        self._convs[made] = node

    def _write_blocked(self, node: onnx.NodeProto) -> None:
        """Writes a node whose inputs are all blocked."""
        made, read = node.output[0], [self._blocked.get(name, 0) for name in node.input]
        channels = sum(read) if node.op_type == "Concat" else read[0]
        if node.op_type == "Add" and self._sum_inside(node, channels):
            return
        if self._activation_inside(node, channels):
            return
        for i, name in enumerate(node.input):
            node.input[i] = self._blocked_name(name) if name in self._blocked else name
        if node.op_type in POOLS:
            self._make(node, made, channels)
        else:
            node.output[0] = self._blocked_name(made)
            self._blocked[made] = channels
            self._written.append(node)

    def _make(self, node: onnx.NodeProto, made: str, channels: int) -> None:
        """Writes a node of the layout's own kernels."""
        node.domain, node.name = DOMAIN, f"{made}{_SUFFIX}"
        node.output[0] = self._blocked_name(made)
        self._blocked[made] = channels
        self._written.append(node)

    def _sum_inside(self, node: onnx.NodeProto, channels: int) -> bool:
        """Moves an Add into a convolution: the last one, which can read all other tensors."""
        for position, conv in enumerate(map(self._open_conv, node.input)):
            if conv is None or len(conv.input) > 3 or node.input[0] == node.input[1]:
                continue
            del self._blocked[node.input[position]]
            conv.input.extend([""] * (3 - len(conv.input)))
            conv.input.append(self._blocked_name(node.input[1 - position]))
            self._hand_on(conv, node.output[0], channels)
            return True
        return False

    def _activation_inside(self, node: onnx.NodeProto, channels: int) -> bool:
        """Moves an activation into the convolution before it; False where that is impossible."""
        params = self._activation(node)
        conv = self._open_conv(node.input[0])
        if params is None or conv is None:
            return False
        del self._blocked[node.input[0]]
        conv.attribute.append(onnx.helper.make_attribute("activation", node.op_type))
        if params:
            conv.attribute.append(onnx.helper.make_attribute("activation_params", params))
        self._hand_on(conv, node.output[0], channels)
        del self._convs[node.output[0]]
        return True

    def _activation(self, node: onnx.NodeProto) -> list[float] | None:
        """The parameters of an activation that a convolution can compute inside; else None."""
        if node.op_type == "Clip":
            limits = [self._limit(node, 1, -np.inf), self._limit(node, 2, np.inf)]
            return None if None in limits else [float(limit or 0.0) for limit in limits]
        if node.op_type not in FUSED:
            return None
        told = {attribute.name: attribute.f for attribute in node.attribute}
        return [told.get(name, usual) for name, usual in FUSED[node.op_type].items()]

    def _limit(self, node: onnx.NodeProto, position: int, usual: float) -> float | None:
        """A constant limit of a Clip, which is an attribute in operators before version 11."""
        told = {attribute.name: attribute.f for attribute in node.attribute}
        if len(node.input) <= position or not node.input[position]:
            limit = told.get(("", "min", "max")[position], usual)
            return float(np.clip(limit, np.finfo(np.float32).min, np.finfo(np.float32).max))
        name = node.input[position]
        return float(self._constants[name]) if name in self._constants else None

    def _open_conv(self, name: str) -> onnx.NodeProto | None:
        """The blocked convolution that makes a tensor for one reader only; None for others."""
        return self._convs.get(name) if self._readers[name] == 1 else None

    def _hand_on(self, conv: onnx.NodeProto, made: str, channels: int) -> None:
        """Lets a convolution make, in its place, the output of the node that was moved into it."""
        self._written.remove(conv)
        self._written.append(conv)
        conv.output[0] = self._blocked_name(made)
        self._blocked[made] = channels
        self._convs[made] = conv

    def _as_plain(self, name: str) -> str:
        """The name of a tensor in ONNX's form, converted if it is not yet in that form."""
        if name in self._blocked and name not in self._plain:
            self._plain.add(name)
            convert = {"channels": self._blocked[name]}
            self._convert(
                "ReorderOutput", self._blocked_name(name), self._plain_name(name), convert
            )
        return self._plain_name(name) if name in self._plain else name

    def _as_blocked(self, name: str, channels: int) -> str:
        """The name of a tensor in the blocked form, converted if it is not yet in that form."""
        if name not in self._blocked:
            self._convert("ReorderInput", self._as_plain(name), self._blocked_name(name), {})
            self._blocked[name] = channels
        return self._blocked_name(name)

    def _convert(self, kind: str, reads: str, makes: str, attributes: Mapping[str, Any]) -> None:
        name = f"{kind}_{len(self._written)}"  # a name that belongs to no layer
        node = onnx.helper.make_node(kind, [reads], [makes], name, domain=DOMAIN, **attributes)
        self._written.append(node)

    def _blocked_name(self, name: str) -> str:
        return name if name in self._ports else f"{name}/{self._layout}"

    def _plain_name(self, name: str) -> str:
        return f"{name}/nchw" if name in self._ports else name


def _reordered(weight: NDArray[Any], block: int, sides: str) -> NDArray[Any]:
    """Weights blocked on the output's side, or both, as kernels read them; the shape stays OIHW."""
    outputs, inputs, *window = weight.shape
    if sides == "o":
        split = weight.reshape(outputs // block, block, inputs, *window)
        return split.transpose(0, 2, 3, 4, 1).reshape(weight.shape)
    split = weight.reshape(outputs // block, block, inputs // block, block, *window)
    return split.transpose(0, 2, 4, 5, 3, 1).reshape(weight.shape)


def _group(node: onnx.NodeProto) -> int:
    return next((a.i for a in node.attribute if a.name == "group"), 1)


def lower(model: onnx.ModelProto, nodes: Collection[str]) -> None:
    """Makes some convolutions run as im2col+GEMM, whatever the others do.

    onnxruntime has no option for one node's algorithm. Its NchwcTransformer rewrites those
    convolutions whose weights are constant; an initializer that is also a graph input may be
    overridden by the caller, is therefore no constant, and its convolution stays im2col+GEMM. The
    caller need not feed such an initializer.

    Args:
        model: The model, changed in place.
        nodes: The names of nodes; nodes that are no convolutions with constant weights stay
            unchanged.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    lowered = [
        node
        for node in graph.node
        if node.name in nodes and node.op_type == "Conv" and node.input[1] in weights
    ]
    listed: set[str] = set()
    names = {node.name for node in lowered}
    kept = {name for node in graph.node if node.name not in names for name in node.input}
    for node in lowered:
        weight = weights[node.input[1]]
        if weight.name in kept:  # read by a node for which the weight has to stay constant
            copy = graph.initializer.add()
            copy.CopyFrom(weight)
            copy.name = f"{weight.name}/lowered"
            node.input[1] = copy.name
            weight = copy
        if weight.name not in listed:
            listed.add(weight.name)
            graph.input.append(
                onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
            )
