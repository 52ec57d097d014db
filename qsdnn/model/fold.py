"""The folding of what scales and shifts channels into the convolution or product before it.

BatchNormalization, and Mul, Add, Sub and Div by a constant that has one value a channel, are y =
scale * x + shift; so is the output of Conv, ConvTranspose, Gemm and BatchNormalization in its
weight and bias. The folded weights are computed in double precision and rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qsdnn.model.dataflow import is_weight

_Array = NDArray[np.float64]
_AFFINE = ("BatchNormalization", "Add", "Sub", "Mul", "Div")


@dataclass(frozen=True, slots=True)
class _Affine:
    """The map y = scale * x + shift, each of shape (channels,)."""

    scale: _Array
    shift: _Array


def fold_affine(graph: ir.Graph) -> None:
    """Folds channel-wise scales and shifts into the node before them, in place.

    Folding is only done in float32, where that node's weights are constant and nothing else reads
    its output.
    """
    for node in tuple(graph):
        data = _data_input(node)
        host = data.producer() if data is not None else None
        if data is None or host is None or len(data.uses()) != 1 or data.is_graph_output():
            continue
        if node.op_type not in _AFFINE or data.shape is None:
            continue
        weight, bias = _parameters(host)
        if weight is None or bias is None:
            continue
        affine = _affine(node, data, channels=len(bias), rank=len(data.shape))
        if affine is not None:
            _replace_weights(graph, host, weight, bias, affine)
            _drop(graph, node, data)


def _data_input(node: ir.Node) -> ir.Value | None:
    """The one activation that a node reads; None when it reads more or none."""
    values = [v for v in node.inputs if v is not None and not is_weight(v)]
    return values[0] if len(values) == 1 and not node.domain else None


def _constant(value: ir.Value | None) -> _Array | None:
    """The values of a float32 weight in double precision; None where there is no such weight."""
    if value is None or not is_weight(value) or value.const_value is None:
        return None
    if value.const_value.dtype != ir.DataType.FLOAT:
        return None
    return value.const_value.numpy().astype(np.float64)


def _integer(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def _parameters(host: ir.Node) -> tuple[_Array | None, _Array | None]:
    """The weight, and the bias as a vector (zeros where there is none); None when not foldable."""
    axis = _channel_axis(host)
    weight = _constant(host.inputs[1]) if axis is not None else None
    factors = (host.attributes.get(name) for name in ("alpha", "beta"))
    if axis is None or weight is None or any(f and f.as_float() != 1.0 for f in factors):
        return None, None
    channels = weight.shape[axis]
    if len(host.inputs) < 3 or host.inputs[2] is None:
        return weight, np.zeros(channels)
    bias = _constant(host.inputs[2])
    if bias is None or bias.size not in (1, channels) or bias.size != max((1, *bias.shape[-1:])):
        return None, None  # a Gemm's C may differ from row to row
    return weight, np.broadcast_to(bias.reshape(-1), (channels,))


def _channel_axis(host: ir.Node) -> int | None:
    """The axis of a node's weight that is the output channel; None where it takes no scale."""
    if host.domain:
        return None
    match host.op_type:
        case "Conv":
            return 0
        case "Gemm":
            return 0 if _integer(host, "transB", 0) else 1
        case "ConvTranspose":
            return 1 if _integer(host, "group", 1) == 1 else None
        case "BatchNormalization":
            return 0 if _normalization(host) is not None else None
    return None


def _affine(node: ir.Node, data: ir.Value, *, channels: int, rank: int) -> _Affine | None:
    if node.op_type == "BatchNormalization":
        return _normalization(node)
    if "axis" in node.attributes:
        return None  # before opset 7 `axis` said where a constant lies
    first = node.inputs[0] is data
    constant = _constant(node.inputs[1 if first else 0])
    vector = _channel_vector(constant, channels, rank) if constant is not None else None
    if vector is None or (not first and node.op_type in ("Sub", "Div")):
        return None
    one, zero = np.ones(channels), np.zeros(channels)
    match node.op_type:
        case "Add":
            return _Affine(one, vector)
        case "Sub":
            return _Affine(one, -vector)
        case "Mul":
            return _Affine(vector, zero)
    return _Affine(1.0 / vector, zero) if vector.all() else None


def _channel_vector(constant: _Array, channels: int, rank: int) -> _Array | None:
    """A constant that broadcasts along axis 1 only, as a vector of `channels`; None for others."""
    if constant.ndim > rank:
        return None
    shape = (1,) * (rank - constant.ndim) + constant.shape
    if any(size != 1 for axis, size in enumerate(shape) if axis != 1):
        return None
    if shape[1] not in (1, channels):
        return None
    return np.broadcast_to(constant.reshape(-1), (channels,))


def _normalization(node: ir.Node) -> _Affine | None:
    """The map of BatchNormalization at inference; None where it is none, as in training."""
    values = [_constant(value) for value in node.inputs[1:5]]
    training = _integer(node, "training_mode", 0) or not _integer(node, "spatial", 1)
    known = [value for value in values if value is not None]
    if training or any(value.uses() for value in node.outputs[1:]) or len(known) < 4:
        return None
    scale, shift, mean, variance = known
    epsilon = node.attributes.get("epsilon")
    scale = scale / np.sqrt(variance + (1e-5 if epsilon is None else epsilon.as_float()))
    return _Affine(scale, shift - mean * scale)


def _replace_weights(
    graph: ir.Graph, host: ir.Node, weight: _Array, bias: _Array, affine: _Affine
) -> None:
    """Gives a node a scaled weight and bias of its own, as the old ones may be shared."""
    axis = _channel_axis(host)
    assert axis is not None
    by_channel = np.moveaxis(weight, axis, -1) * affine.scale
    new_weight = np.ascontiguousarray(np.moveaxis(by_channel, -1, axis))
    new_bias = bias * affine.scale + affine.shift
    host.resize_inputs(max(3, len(host.inputs)))
    for position, array in ((1, new_weight), (2, new_bias)):
        name = f"{host.outputs[0].name}_folded_{position}"
        while name in graph.initializers:
            name += "_"
        tensor = ir.Tensor(array.astype(np.float32), name=name)
        value = ir.Value(
            name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        graph.register_initializer(value)
        host.replace_input_with(position, value)


def _drop(graph: ir.Graph, node: ir.Node, data: ir.Value) -> None:
    """Takes a folded node out; its output's name stays, since a caller may know that name."""
    output = node.outputs[0]
    name, shape = output.name, output.shape
    output.name = None
    ir.convenience.replace_all_uses_with(output, data, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    data.name = name
    data.shape = shape if shape is not None else data.shape
