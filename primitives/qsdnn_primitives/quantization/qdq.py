"""Puts QuantizeLinear (Q) and DequantizeLinear (DQ) around the layers to run in integers.

An engine that knows the pattern runs DQ → operator → Q as one integer kernel; mixed precision is
written as a network in which only some layers have the pattern. (Jacob et al., Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, arXiv 1712.05877.)

onnxruntime.quantization's own QDQQuantizer would write the same kind of model, but it also hands
rounded values to readers in fp32 and to the outputs of a segment, leaves its nodes in no
topological order, and takes seconds for a model that is built once for each plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qsdnn.errors import BuildError
from qsdnn.model.calibration import Calibration
from qsdnn_primitives.quantization.constants import Constants
from qsdnn_primitives.quantization.scale import Scale, quantize_weight

# The operator version from which on DequantizeLinear has an axis.
OPSET = 13

# Operators that hand values on unchanged: integers go in and out with one scale.
MOVES = frozenset({"MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice"})
# Operators whose work the limits of the integers do by themselves.
CLAMPS = frozenset({"Relu", "Clip"})
# Operators whose input 1 is quantized by output channel, and whose input 2 is a bias.
PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})


def insert(
    model: onnx.ModelProto,
    nodes: Collection[str],
    calibration: Calibration | None,
    folder: Path,
    *,
    weights: bool = True,
) -> None:
    """Quantizes nodes: activations to uint8, weights to int8 per channel, biases to int32.

    A tensor that a node in integers makes passes through one pair of Q and DQ, whoever reads it; a
    tensor that is made in fp32 does so for its readers in integers only. A clamp behind another
    node in integers vanishes into the limits of that node's output. The result of a product stays
    fp32 if nothing reads it in integers: engines have kernels with such an output, convolutions
    excepted.

    Args:
        model: The model, changed in place. Its weights may be external, in `folder`.
        nodes: The names of the nodes. Their inputs beyond the data must be constants: weights,
            shapes.
        calibration: A calibration with the range of each of the nodes' activations.
        folder: The folder that gets the larger integer weights, in files named by their content.
        weights: Whether constants are quantized too. If not, nothing computes in integers, and the
            model shows what rounding the activations alone loses.

    Raises:
        BuildError: There is no calibration, it lacks a range, or the model's operators are older
            than `OPSET`.
    """
    if calibration is None:
        raise BuildError("int8 needs a calibration", hint="give --calibration DIR|FILE.npz")
    version = next(stamp.version for stamp in model.opset_import if stamp.domain in ("", "ai.onnx"))
    if version < OPSET:
        raise BuildError(f"int8 needs operators of version {OPSET}, the model has {version}")
    _Insertion(model.graph, nodes, calibration, folder, weights).apply()


class _Insertion:
    def __init__(
        self,
        graph: onnx.GraphProto,
        names: Collection[str],
        calibration: Calibration,
        folder: Path,
        weights: bool,
    ) -> None:
        chosen = [node for node in graph.node if node.name in names]
        self._graph = graph
        self._calibration = calibration
        self._constants = Constants(graph, folder)
        self._weights = weights
        self._written: list[onnx.NodeProto] = []
        self._writer: dict[str, onnx.NodeProto] = {}
        self._chosen = {node.name for node in chosen}
        self._maker = {name: node for node in chosen for name in node.output}
        self._moved = {n: node.input[0] for n, node in self._maker.items() if node.op_type in MOVES}
        self._clamped: set[str] = set()
        self._scales: dict[str, Scale] = {}

    def apply(self) -> None:
        nodes = list(self._graph.node)
        for clamp in list(self._clamps(nodes)):
            nodes.remove(clamp)
        read = {name for node in nodes if node.name in self._chosen for name in node.input}
        for node in nodes:
            if node.name in self._chosen:
                self._quantize(node, read)
            else:
                self._keep(node)
        del self._graph.node[:]
        self._graph.node.extend(self._written)
        self._constants.prune()

    def _write(self, node: onnx.NodeProto) -> None:
        self._written.append(node)
        self._writer.update(dict.fromkeys(node.output, node))

    def _make(self, owner: onnx.NodeProto, kind: str, reads: Sequence[str], makes: str) -> None:
        """Writes an inserted node, whose name tells a profile which node it belongs to."""
        self._write(onnx.helper.make_node(kind, reads, [makes], f"{owner.name}/{makes}"))

    def _clamps(self, nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        """The clamps that vanish; the maker of a clamp's input makes the clamp's output instead."""
        readers = Counter(name for node in nodes for name in node.input)
        readers.update(output.name for output in self._graph.output)
        for node in nodes:
            maker = self._maker.get(node.input[0]) if node.input else None
            if node.name not in self._chosen or node.op_type not in CLAMPS or maker is None:
                continue
            source, target = node.input[0], node.output[0]
            low, high = self._calibration.ranges.get(target, (1.0, -1.0))
            spans = node.op_type == "Relu" or low <= 0 <= high  # else 0 would not be clamped
            if spans and maker.op_type not in MOVES and readers[source] == 1:
                maker.output[list(maker.output).index(source)] = target
                self._maker[target] = maker
                self._clamped.add(target)
                yield node

    def _quantize(self, node: onnx.NodeProto, read: Collection[str]) -> None:
        source = node.input[0]
        data = 1 if node.op_type in PRODUCTS | MOVES | CLAMPS else len(node.input)
        for position, name in enumerate(node.input[:data]):
            if name:
                node.input[position] = self._read(node, name)
        if node.op_type in PRODUCTS and self._weights:
            self._parameters(node, self._scale(source))
        rounded = [n for n in node.output if n and not self._stays_exact(node, n, read)]
        node.output[:] = [f"{name}/exact" if name in rounded else name for name in node.output]
        self._write(node)
        for name in rounded:
            self._pair(node, f"{name}/exact", name, self._scale(name))

    def _keep(self, node: onnx.NodeProto) -> None:
        """Writes a node that stays in fp32; puts an Identity before a product of integers."""
        if node.op_type == "MatMul" and {*node.input} <= {*self._maker}:
            read = f"{node.name}/{node.input[0]}/fp32"
            self._make(node, "Identity", [node.input[0]], read)
            node.input[0] = read
        self._write(node)

    def _stays_exact(self, node: onnx.NodeProto, name: str, read: Collection[str]) -> bool:
        return node.op_type in ("Gemm", "MatMul") and name not in read and name not in self._clamped

    def _read(self, node: onnx.NodeProto, name: str) -> str:
        """The name under which a node in integers reads an operand."""
        if name in self._maker:
            return name
        target = f"{name}/dequantized"
        if name in self._constants:
            if not self._weights:
                return name
            values = self._constants[name]
            scale = Scale.of_values(values)
            return self._constant(node, f"{node.name}/{name}", scale.quantize(values), scale)
        if target not in self._writer:
            self._pair(node, self._guarded(name), target, self._scale(name))
        return target

    def _guarded(self, name: str) -> str:
        """A tensor made in fp32, behind an Identity if its maker is between integers.

        Else an engine would take the maker for a part of them. The board must keep the Identity.
        """
        writer = self._writer.get(name)
        if writer is None or not any(read in self._maker for read in writer.input):
            return name
        self._make(writer, "Identity", [name], f"{name}/fp32")
        return f"{name}/fp32"

    def _parameters(self, node: onnx.NodeProto, data: Scale) -> None:
        """Quantizes weights and bias; a bias has the scale of the products it is added to."""
        values, axis = self._constants[node.input[1]], channel_axis(node)
        biased = len(node.input) > 2 and node.input[2] != ""
        bias = self._constants[node.input[2]] if biased else None
        weight, scales = quantize_weight(values, axis, data.scale, bias)
        node.input[1] = self._constant(node, f"{node.name}/weight", weight, Scale(scales, 0), axis)
        if bias is not None:
            product = Scale(data.scale * scales, 0)
            integers = np.rint(bias / product.scale).astype(np.int32)
            node.input[2] = self._constant(node, f"{node.name}/bias", integers, product, 0)

    def _constant(
        self, owner: onnx.NodeProto, name: str, values: NDArray[Any], scale: Scale, axis: int = 0
    ) -> str:
        """The name under which a node reads a constant: integers, then a DQ."""
        integers = self._constants.add(f"{name}/integers", values)
        made = f"{name}/dequantized"
        reads = [integers, *self._parameters_of(name, scale, values.dtype)]
        self._make(owner, "DequantizeLinear", reads, made)
        if np.ndim(scale.scale):
            self._written[-1].attribute.append(onnx.helper.make_attribute("axis", axis))
        return made

    def _pair(self, owner: onnx.NodeProto, source: str, target: str, scale: Scale) -> None:
        """Writes the Q and the DQ of an activation."""
        integers = f"{source}/integers"
        parameters = self._parameters_of(source, scale, np.dtype(np.uint8))
        self._make(owner, "QuantizeLinear", [source, *parameters], integers)
        self._make(owner, "DequantizeLinear", [integers, *parameters], target)

    def _parameters_of(self, name: str, scale: Scale, dtype: np.dtype[Any]) -> list[str]:
        zero_point = np.full(np.shape(scale.scale), scale.zero_point, dtype)
        return [
            self._constants.add(f"{name}/scale", np.asarray(scale.scale)),
            self._constants.add(f"{name}/zero_point", zero_point),
        ]

    def _scale(self, name: str) -> Scale:
        """The scale of a tensor's range; of a moved tensor, the scale it had before."""
        if name not in self._scales:
            moved = self._moved.get(name)
            self._scales[name] = (
                Scale.of_range(*self._calibration.range(name))
                if moved is None
                else self._scale(moved)
            )
        return self._scales[name]


def channel_axis(node: onnx.NodeProto) -> int:
    """The axis of a product's weights that has the output channels."""
    if node.op_type == "Conv":
        return 0
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if transposed else 1
