"""OpenVINO on CPUs: it chooses the algorithms, we choose the precision of a segment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from qsdnn.engine import EngineInfo
from qsdnn.graph.extract import write_segment
from qsdnn.graph.layer import Layer
from qsdnn.primitive import Precision, Primitive
from qsdnn.segment import Artifact, Segment

NAME = "openvino"

# Operators of the default domain that its ONNX frontend and CPU plugin compute as onnxruntime
# does, on float32 of static shapes: each passes ONNX's own node tests of that kind
# (tests/unit/primitives/test_openvino.py).
OPERATORS = frozenset(
    "Conv ConvTranspose Gemm MatMul "
    "MaxPool AveragePool GlobalAveragePool GlobalMaxPool "
    "Add Sub Mul Div Sum Mean Max Min Pow "
    "Relu LeakyRelu PRelu Clip Sigmoid Tanh Elu Selu Celu HardSwish HardSigmoid Gelu Softplus "
    "Softsign Mish ThresholdedRelu Erf Exp Log Sqrt Reciprocal Abs Neg Floor Ceil "
    "BatchNormalization InstanceNormalization LayerNormalization GroupNormalization LRN "
    "Softmax LogSoftmax "
    "Concat Split Slice Reshape Flatten Squeeze Unsqueeze Transpose Identity Dropout Pad "
    "Gather Expand Tile DepthToSpace SpaceToDepth "
    "ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare".split()
)

# Its plugin's words for the precisions it is faster in; anything else it would only emulate.
_REDUCED = {Precision.BF16: "BF16", Precision.FP16: "FP16"}
# What shapes, axes and indices come in. It computes them in 32 bits, which is enough for those.
_INDICES = frozenset({ir.DataType.INT64, ir.DataType.INT32})


class OpenvinoEngine:
    """Takes layers whose operators and types are known to come out as onnxruntime's."""

    name = NAME

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """fp32, and each precision below it that the board says it has."""
        if layer.pinned or not all(_is_known(node) for node in layer.nodes):
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


def _is_known(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        return False
    inputs = [(i, value) for i, value in enumerate(node.inputs) if value is not None]
    outputs = [value for value in node.outputs if value.name]
    return all(_is_readable(node, i, value) for i, value in inputs) and all(
        _is_activation(value) for value in outputs
    )


def _is_readable(node: ir.Node, index: int, value: ir.Value) -> bool:
    if value.const_value is not None:
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
