"""The host half of the engine ``tensorrt``: offers precisions, and writes typed ONNX files.

TensorRT chooses kernels by itself, for the whole graph; what a layer can choose is its precision.
The board half builds a strongly typed network: every tensor then has the type that the ONNX file
gives it, and setting the precision of a layer through the API is not allowed (TensorRT's
documentation of ``NetworkDefinitionCreationFlag.STRONGLY_TYPED``; from TensorRT 11 on there is no
other kind). So precisions are written into the file, as Cast nodes and converted weights. TF32 is
no type of tensors but a permission for a whole graph, and so a family of its own: beside layers
in TF32 none could be held to fp32.

Not run on hardware yet: written to the documentation, as no GPU was at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from qsdnn.engine import EngineInfo
from qsdnn.model.dataflow import reads
from qsdnn.model.extract import write_segment
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.tensorrt.cast import NARROW, Casting

NAME = "tensorrt"
AUTO = "auto"
TF32_FAMILY = f"{NAME}-tf32"
"""The family of segments in which TensorRT may compute products of float32 in TF32."""

_DOMAINS = ("", "ai.onnx")
# Types of TensorRT's tensors that inputs and outputs may have too.
_TYPES = frozenset(
    {ir.DataType.FLOAT, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.BOOL},
)
_TYPED = """
    Conv ConvTranspose Gemm MatMul
    MaxPool AveragePool GlobalAveragePool GlobalMaxPool
    Add Sub Mul Div Sum Mean Max Min Pow
    Relu LeakyRelu PRelu Clip Sigmoid Tanh Elu Selu Celu HardSwish HardSigmoid Gelu Softplus
    Softsign Mish ThresholdedRelu Erf Exp Log Sqrt Reciprocal Abs Neg
    BatchNormalization InstanceNormalization LayerNormalization GroupNormalization
    Softmax LogSoftmax
    Concat Split Slice Reshape Flatten Squeeze Unsqueeze Transpose Identity Pad
    Gather Expand Tile DepthToSpace SpaceToDepth
    ReduceMean ReduceSum ReduceMax ReduceMin
"""
TYPED = frozenset(_TYPED.split())
"""Operators whose floating-point inputs and outputs are all of one type, whichever that is.

Others name a type in an attribute (Cast), or want float32 in places (the scales of a Resize).
"""


class TensorrtEngine:
    """The host half of the engine ``tensorrt``; see `qsdnn.engine.Engine`.

    What TensorRT's parser does not take is found out on the board, which refuses the file.
    """

    name = NAME

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """The precisions of a layer: fp32, then those that the board says its GPU computes in.

        There is none for a pinned layer, for operators of other domains or with bodies, and for
        tensors that have no static shape, no elements, or a type that TensorRT lacks.
        """
        if layer.pinned or not all(map(_is_plain, layer.nodes)):
            return []
        told = [Precision.FP32, *(p for p in _REDUCED if p.upper() in info.capabilities)]
        narrows = all(node.op_type in TYPED for node in layer.nodes) and any(
            value.dtype == ir.DataType.FLOAT for node in layer.nodes for value in node.outputs
        )
        return [_primitive(p) for p in told if narrows or p not in NARROW]

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes an ONNX file whose tensors have the types that the layers compute in.

        Raises:
            BuildError: The segment cannot be written.
        """
        wanted = {
            layer.index: choice.precision
            for layer, choice in zip(segment.layers, segment.choices, strict=True)
            if choice.precision in NARROW
        }
        casts: dict[str, int] = {}

        def edit(model: onnx.ModelProto) -> None:
            if wanted:
                casting = Casting(model.graph, _floats(segment), folder)
                casts.update(casting.apply(wanted))

        files, options = write_segment(segment, folder, edit)
        options["nodes"] |= casts
        return Artifact(file=files[0], files=tuple(files), options=options)


_REDUCED = (Precision.TF32, Precision.FP16, Precision.BF16)


def _primitive(precision: Precision) -> Primitive:
    return Primitive(
        engine=NAME,
        algorithm=AUTO,
        precision=precision,
        family=TF32_FAMILY if precision is Precision.TF32 else NAME,
        format=str(precision) if precision in NARROW else "",
    )


def _is_plain(node: ir.Node) -> bool:
    """Whether a node is ONNX's own, without bodies, on static tensors of types TensorRT has."""
    bodies = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    if node.domain not in _DOMAINS or any(a.type in bodies for a in node.attributes.values()):
        return False
    return all(map(_is_static, _values(node)))


def _values(node: ir.Node) -> Iterator[ir.Value]:
    yield from reads(node)
    yield from (value for value in node.outputs if value.name)


def _is_static(value: ir.Value) -> bool:
    shape = value.shape
    return (
        value.dtype in _TYPES
        and shape is not None
        and all(isinstance(size, int) and size > 0 for size in shape)
    )


def _floats(segment: Segment) -> set[str]:
    """The names of the tensors of a segment that are float32, weights among them."""
    values = (v for layer in segment.layers for node in layer.nodes for v in _values(node))
    return {str(value.name) for value in values if value.dtype == ir.DataType.FLOAT}


ENGINE = TensorrtEngine()
