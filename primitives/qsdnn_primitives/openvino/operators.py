"""The operators that OpenVINO computes as onnxruntime does, and those it computes in integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qsdnn.model.dataflow import is_weight
from qsdnn.model.layer import Layer
from qsdnn_primitives.onnxruntime.nodes import integer_nodes as quantizable

# Operators of the default domain that OpenVINO's ONNX frontend and CPU plugin compute as
# onnxruntime does, on float32 of static shapes: each passes ONNX's own node tests of that kind
# (tests/unit/primitives/test_openvino.py). ReduceMax and ReduceMin are left out: the largest of
# nothing but -inf, as in a fully masked row of attention, comes out as the least finite number.
_OPERATORS = """
    Conv ConvTranspose Gemm MatMul
    MaxPool AveragePool GlobalAveragePool GlobalMaxPool
    Add Sub Mul Div Sum Mean Max Min Pow
    Relu LeakyRelu PRelu Clip Sigmoid Tanh Elu Selu Celu HardSwish HardSigmoid Gelu Softplus
    Softsign Mish ThresholdedRelu Erf Exp Log Sqrt Reciprocal Abs Neg Floor Ceil
    BatchNormalization InstanceNormalization LayerNormalization GroupNormalization LRN
    Softmax LogSoftmax
    Concat Split Slice Reshape Flatten Squeeze Unsqueeze Transpose Identity Dropout Pad
    Gather Expand Tile DepthToSpace SpaceToDepth
    ReduceMean ReduceSum ReduceL1 ReduceL2 ReduceSumSquare
"""
OPERATORS = frozenset(_OPERATORS.split())

# Operators that OpenVINO's frontend drops when there is one input.
_VARIADIC = frozenset({"Sum", "Mean", "Max", "Min"})

# The types of shapes, axes and indices. OpenVINO computes these in 32 bits, which is enough for
# them.
_INDICES = frozenset({ir.DataType.INT64, ir.DataType.INT32})
# Behind a product, the plugin computes these operators in the product's kernel, on its
# accumulators: that costs nothing, while integers around them would make separate kernels of them.
_INSIDE = frozenset({"Sigmoid", "Mul", "LeakyRelu"})


def is_known(node: ir.Node, layer: Layer) -> bool:
    """Whether OpenVINO computes a node of a layer as onnxruntime does."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        return False
    inputs = [(i, value) for i, value in enumerate(node.inputs) if value is not None]
    typed = all(_is_readable(node, i, value) for i, value in inputs) and all(
        is_activation(value) for value in node.outputs if value.name
    )
    return typed and not _differs(node) and not _passes_on(node, layer)


def _differs(node: ir.Node) -> bool:
    """Whether a node has an attribute that OpenVINO ignores, or reads in another way."""
    if node.op_type == "SpaceToDepth":
        return "mode" in node.attributes
    if node.op_type == "LRN":
        bias = node.attributes.get("bias")  # the CPU plugin always takes it for 1
        return bias is not None and bias.as_float() != 1.0
    if node.op_type in ("Softmax", "LogSoftmax"):
        return _flattens(node)
    return node.op_type in ("MaxPool", "AveragePool") and not _pools_alike(node)


def _flattens(node: ir.Node) -> bool:
    """Whether a softmax, before operator set 13, is over more dimensions than OpenVINO takes."""
    imports = node.graph.opset_imports if node.graph is not None else {}
    shape = node.outputs[0].shape
    if (node.version or imports.get("", 0)) >= 13 or shape is None:
        return False
    axis = node.attributes.get("axis")
    after = list(shape)[1 if axis is None else axis.as_int() :][1:]
    return any(size != 1 for size in after)


def _passes_on(node: ir.Node, layer: Layer) -> bool:
    """Whether OpenVINO drops the node, so that the node's output may be an input of the segment.

    An output that is also an input is one tensor to OpenVINO, with room for one buffer.
    """
    first = node.inputs[0] if node.inputs else None
    drops = node.op_type == "Dropout" or (node.op_type in _VARIADIC and len(node.inputs) == 1)
    return drops and first is not None and first.name in layer.inputs


def _pools_alike(node: ir.Node) -> bool:
    """Whether OpenVINO makes the same windows as ONNX.

    With ``ceil_mode``, ONNX leaves out a last window that would start in the padding at the end;
    OpenVINO keeps that window. Where padding counts in the mean, OpenVINO also counts places beyond
    it.
    """
    ceil, count = (node.attributes.get(name) for name in ("ceil_mode", "count_include_pad"))
    if ceil is None or not ceil.as_int():
        return True
    if count is not None and count.as_int():
        return False
    x, y = node.inputs[0], node.outputs[0]
    if "auto_pad" in node.attributes or x is None or x.shape is None or y.shape is None:
        return False
    size, windows = np.array(x.shape[2:]), np.array(y.shape[2:])
    reach = (_per_axis(node, "kernel_shape", size) - 1) * _per_axis(node, "dilations", size) + 1
    padded = size + _per_axis(node, "pads", np.stack([size, size]), default=0).sum(axis=0)
    made = -(-(padded - reach) // _per_axis(node, "strides", size)) + 1
    return bool((made == windows).all())


def _per_axis(node: ir.Node, name: str, like: NDArray[Any], default: int = 1) -> NDArray[Any]:
    attribute = node.attributes.get(name)
    if attribute is None:
        return np.full_like(like, default)
    return np.array(attribute.as_ints()).reshape(like.shape)


def _is_readable(node: ir.Node, index: int, value: ir.Value) -> bool:
    if is_weight(value):
        return value.dtype == ir.DataType.FLOAT or value.dtype in _INDICES
    indices = node.op_type == "Gather" and index == 1 and value.dtype in _INDICES
    return indices or is_activation(value)


def is_activation(value: ir.Value) -> bool:
    """Whether a value is float32 of a static shape with elements."""
    return (
        value.dtype == ir.DataType.FLOAT
        and value.shape is not None
        and all(isinstance(size, int) and size > 0 for size in value.shape)
    )


def integer_nodes(layer: Layer) -> tuple[int, ...]:
    """The positions of the nodes to put integers around; none where it makes no sense."""
    return tuple(i for i in quantizable(layer) if layer.nodes[i].op_type not in _INSIDE)
