"""The host half of the engine ``openvino``: offers primitives by the kinds of layers; builds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from qsdnn.engine import EngineInfo
from qsdnn.model.dataflow import is_weight
from qsdnn.model.extract import write_segment
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.openvino.operators import integer_nodes, is_known
from qsdnn_primitives.quantization.qdq import insert

NAME = "openvino"
AUTO = "auto"

# The format of a tensor between layers, by their precision; all of these mix in one graph.
_FORMATS = {
    Precision.FP32: "",
    Precision.BF16: "bf16",
    Precision.FP16: "fp16",
    Precision.INT8: "u8",
}
_COMPUTING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_WHOLE = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Concat"})
_BEHIND = frozenset({"Relu", "Clip", "Flatten", "Reshape"})


class OpenvinoEngine:
    """Takes layers whose operators and types are known to compute the same as onnxruntime."""

    name = NAME
    reads_onnx = True

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """The plugin's own choice in fp32; then the choices that the board's plugin read back.

        The board's words for these are ``kind:algorithm/precision``. A graph is compiled for one of
        bf16 and fp16, with fp32 and int8 beside it: where the board has both, bf16 alone is
        offered.
        """
        if layer.pinned or not all(is_known(node, layer) for node in layer.nodes):
            return []
        kind = kind_of(layer)
        told = (word.partition(":") for word in info.capabilities)
        offers = [offer for of, _, offer in told if kind and offer and of == kind]
        found = [_primitive(*offer.split("/")) for offer in (f"{AUTO}/fp32", *offers)]
        hidden = {Precision.FP16} if any(word.endswith("/bf16") for word in offers) else set()
        if not integer_nodes(layer):
            hidden.add(Precision.INT8)
        return [primitive for primitive in found if primitive.precision not in hidden]

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes an ONNX file, with integers in it; the board applies the primitives to it.

        Raises:
            BuildError: The segment cannot be written, or lacks the calibration it needs.
        """
        nodes = {
            f"{layer.index}:{position}"
            for layer, choice in zip(segment.layers, segment.choices, strict=True)
            if choice.precision is Precision.INT8
            for position in integer_nodes(layer)
        }

        def edit(model: onnx.ModelProto) -> None:
            if nodes:
                insert(model, nodes, segment.calibration, folder)

        files, options = write_segment(segment, folder, edit)
        return Artifact(file=files[0], files=tuple(files), options=options)


def _primitive(algorithm: str, precision: str) -> Primitive:
    return Primitive(
        engine=NAME,
        algorithm=algorithm,
        precision=Precision(precision),
        family=NAME,
        format=_FORMATS[Precision(precision)],
    )


def kind_of(layer: Layer) -> str:
    """The board half's word for a layer's kind; empty where only ``auto/fp32`` is known.

    The plugin has the same algorithms and precisions for all layers of one kind. The board half
    asks for these on small layers, see `qsdnn_runtime.engines.openvino.capabilities`. Transposed
    convolutions have no kind: the plugin falls back on too many shapes to tell from here.

    Returns:
        ``conv``, ``pointwise`` (1x1), ``depthwise`` or ``grouped``, all over two dimensions;
        ``product`` with a constant matrix; the operator of a layer without products; or an empty
        text.
    """
    nodes = [node for node in layer.nodes if node.op_type in _COMPUTING]
    if not nodes:
        return _operator(layer)
    if len(nodes) > 1 or nodes[0].op_type == "ConvTranspose":
        return ""
    weights = nodes[0].inputs[1]
    if weights is None or not is_weight(weights) or weights.shape is None:
        return ""
    if nodes[0].op_type != "Conv":
        return "product" if len(weights.shape) == 2 else ""
    return _convolution(nodes[0], weights) if len(weights.shape) == 4 else ""


def _convolution(node: ir.Node, weights: ir.Value) -> str:
    group = node.attributes.get("group")
    groups = group.as_int() if group is not None else 1
    assert weights.shape is not None
    outputs, inputs, *kernel = weights.shape
    if groups == 1 and kernel == [1, 1]:
        return "" if _is_strided(node) and _is_padded(node) else "pointwise"
    if groups == 1:
        return "conv"
    return "depthwise" if inputs == 1 and outputs == groups else "grouped"


def _is_strided(node: ir.Node) -> bool:
    strides = node.attributes.get("strides")
    return strides is not None and max(strides.as_ints()) > 1


def _is_padded(node: ir.Node) -> bool:
    """Whether a convolution pads the image, which the plugin forgets in integers.

    The plugin moves the strides of a 1x1 convolution before the integers, and the padding stays
    behind (OpenVINO 2026.4).
    """
    pads = node.attributes.get("pads")
    return pads is not None and any(pads.as_ints())


def _operator(layer: Layer) -> str:
    first, *others = layer.nodes
    if first.op_type not in _WHOLE or not _BEHIND.issuperset(node.op_type for node in others):
        return ""
    return first.op_type if first.op_type != "Concat" or _joins_channels(first) else ""


def _joins_channels(node: ir.Node) -> bool:
    """Whether a Concat joins channels of images: along other axes it is not always one kernel."""
    axis, shape = node.attributes.get("axis"), node.outputs[0].shape
    return axis is not None and axis.as_int() == 1 and shape is not None and len(shape) == 4


ENGINE = OpenvinoEngine()
