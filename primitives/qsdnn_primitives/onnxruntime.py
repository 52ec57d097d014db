"""onnxruntime: blocked (NCHWc) or im2col+GEMM convolutions, chosen for a whole segment.

onnxruntime has no option for one node's algorithm. Its optimizer as a whole either rewrites
convolutions to the blocked layout NCHWc, or, without that pass, runs them as im2col+GEMM. A segment
takes one or the other; layers without convolutions run alike in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qsdnn.engine import EngineInfo
from qsdnn.graph.extract import write_segment
from qsdnn.graph.layer import Layer
from qsdnn.primitive import Precision, Primitive
from qsdnn.segment import Artifact, Segment

NAME = "onnxruntime"
NCHWC = "NCHWC"


class OnnxruntimeEngine:
    """Takes every layer there is, pinned ones included."""

    name = NAME

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """Both algorithms; only ``gemm`` on boards that say they do not have ``NCHWC``."""
        blocked = not info.capabilities or NCHWC in info.capabilities
        return [_primitive(name) for name in ("nchwc", "gemm") if name == "gemm" or blocked]

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes an ONNX file; the board half reads the algorithm from the family.

        Raises:
            BuildError: The segment cannot be written.
        """
        files, options = write_segment(segment, folder)
        return Artifact(file=files[0], files=tuple(files), options=options)


def _primitive(algorithm: str) -> Primitive:
    return Primitive(
        engine=NAME,
        algorithm=algorithm,
        precision=Precision.FP32,
        family=f"{NAME}/{algorithm}",
    )


ENGINE = OnnxruntimeEngine()
