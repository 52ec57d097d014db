"""OpenVINO on CPUs: it chooses the algorithms, we choose the precision of a segment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qsdnn.engine import EngineInfo
from qsdnn.graph.dataflow import is_weight
from qsdnn.graph.extract import write_segment
from qsdnn.graph.layer import Layer
from qsdnn.primitive import Precision, Primitive
from qsdnn.segment import Artifact, Segment

NAME = "openvino"

# Operators of the default domain that its ONNX frontend and CPU plugin compute as onnxruntime
# does, on float32 of static shapes: each passes ONNX's own node tests of that kind
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

# What its frontend drops when there is one input.
_VARIADIC = frozenset({"Sum", "Mean", "Max", "Min"})

# Its plugin's words for the precisions it is faster in; anything else it would only emulate.
_REDUCED = {Precision.BF16: "BF16", Precision.FP16: "FP16"}
# What shapes, axes and indices come in. It computes them in 32 bits, which is enough for those.
_INDICES = frozenset({ir.DataType.INT64, ir.DataType.INT32})


class OpenvinoEngine:
    """Takes layers whose operators and types are known to come out as onnxruntime's."""

    name = NAME

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """fp32, and each precision below it that the board says it has."""
        if layer.pinned or not all(_is_known(node, layer) for node in layer.nodes):
            return []
        reduced = [p for p, word in _REDUCED.items() if word in info.capabilities]
        return [_primitive(precision) for precision in (Precision.FP32, *reduced)]

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes an ONNX file; the board half reads the precision from the family.

        Raises:
            BuildError: The segment cannot be written.
        """
        files, options = write_segment(segment, folder)
        return Artifact(file=files[0], files=tuple(files), options=options)


def _primitive(precision: Precision) -> Primitive:
    return Primitive(
        engine=NAME, algorithm="auto", precision=precision, family=f"{NAME}/{precision}"
    )


def _is_known(node: ir.Node, layer: Layer) -> bool:
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        return False
    inputs = [(i, value) for i, value in enumerate(node.inputs) if value is not None]
    typed = all(_is_readable(node, i, value) for i, value in inputs) and all(
        _is_activation(value) for value in node.outputs if value.name
    )
    return typed and not _differs(node) and not _passes_on(node, layer)


def _differs(node: ir.Node) -> bool:
    """Whether it has an attribute that OpenVINO ignores, or reads in another way."""
    if node.op_type == "SpaceToDepth":
        return "mode" in node.attributes
    return node.op_type in ("MaxPool", "AveragePool") and not _pools_alike(node)


def _passes_on(node: ir.Node, layer: Layer) -> bool:
    """Whether OpenVINO drops the node, so that what it makes may be an input of the segment.

    An output that is an input is one tensor to OpenVINO, with room for one buffer.
    """
    first = node.inputs[0] if node.inputs else None
    drops = node.op_type == "Dropout" or (node.op_type in _VARIADIC and len(node.inputs) == 1)
    return drops and first is not None and first.name in layer.inputs


def _pools_alike(node: ir.Node) -> bool:
    """Whether OpenVINO makes as many windows as ONNX.

    With ``ceil_mode``, ONNX leaves out a last window that would start in the padding at the end;
    OpenVINO has it.
    """
    ceil = node.attributes.get("ceil_mode")
    if ceil is None or not ceil.as_int():
        return True
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
    return indices or _is_activation(value)


def _is_activation(value: ir.Value) -> bool:
    """Whether it is float32 of a static shape with elements."""
    return (
        value.dtype == ir.DataType.FLOAT
        and value.shape is not None
        and all(isinstance(size, int) and size > 0 for size in value.shape)
    )


ENGINE = OpenvinoEngine()
