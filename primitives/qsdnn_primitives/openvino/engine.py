"""The host half of the engine ``openvino``: offers primitives, and builds segments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from qsdnn.engine import EngineInfo
from qsdnn.model.extract import write_segment
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.openvino.integer import integer_nodes
from qsdnn_primitives.openvino.kind import kind_of
from qsdnn_primitives.openvino.operators import is_known
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


ENGINE = OpenvinoEngine()
