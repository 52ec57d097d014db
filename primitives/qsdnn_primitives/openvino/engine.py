"""The host half: what a layer may take, and the file that is sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qsdnn.engine import EngineInfo
from qsdnn.graph.extract import write_segment
from qsdnn.graph.layer import Layer
from qsdnn.primitive import Precision, Primitive
from qsdnn.segment import Artifact, Segment
from qsdnn_primitives.openvino.kind import kind_of
from qsdnn_primitives.openvino.operators import is_known

NAME = "openvino"
AUTO = "auto"

# Its plugin's words for the precisions it is faster in; anything else it would only emulate.
_REDUCED = {Precision.BF16: "BF16", Precision.FP16: "FP16"}


class OpenvinoEngine:
    """Takes layers whose operators and types are known to come out as onnxruntime's."""

    name = NAME

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """What the plugin does by itself, in each precision; then what it can be asked for.

        Each precision is a graph of its own. ``precise`` is a layer in fp32 in one of less.
        """
        if layer.pinned or not all(is_known(node, layer) for node in layer.nodes):
            return []
        precisions = [p for p, word in _REDUCED.items() if word in info.capabilities]
        offers = [f"{AUTO}/{precision}" for precision in (Precision.FP32, *precisions)]
        kind = kind_of(layer)
        told = (word.partition(":") for word in info.capabilities)
        offers += [offer for of, _, offer in told if kind and offer and of == kind]
        return [_primitive(*offer.split("/")) for offer in offers]

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes an ONNX file; the board half asks for what the primitives say.

        Raises:
            BuildError: The segment cannot be written.
        """
        files, options = write_segment(segment, folder)
        return Artifact(file=files[0], files=tuple(files), options=options)


def _primitive(algorithm: str, precision: str) -> Primitive:
    return Primitive(
        engine=NAME,
        algorithm=algorithm,
        precision=Precision(precision),
        family=f"{NAME}/{precision}",
    )


ENGINE = OpenvinoEngine()
