"""Simulators: what a layer would lose in an arithmetic, found with rounded values in fp32.

No engine need have kernels for it: onnxruntime computes in fp32 on weights and activations that
were rounded as that arithmetic would. Only accuracy is simulated, never time. A simulator builds as
an engine does, but is none: no search takes what it offers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from qsdnn.model.calibration import Calibration
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.plugin import load_plugins
from qsdnn.primitive import Precision, Primitive

GROUP = "qsdnn.simulators"

ENGINE = "onnxruntime"
"""The name of the engine that computes."""

EXACT = Primitive(
    engine=ENGINE, algorithm="nchwc", precision=Precision.FP32, family=ENGINE, format="nchwc"
)
"""The primitive of a layer whose values are not rounded."""


class Part(StrEnum):
    """The values of a layer that are rounded."""

    WEIGHTS = "weights"
    ACTIVATIONS = "activations"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """One way to round a layer's values.

    Attributes:
        part: The values of the layer that are rounded.
        bits: The number of bits of each value.
        form: The form that was chosen for this layer, for people; of fixed-point weights e.g.
            ``"-1.9"``.
        size_bytes: The size of the layer's weights in that form; `fp32_bytes` where they are not
            rounded.
        fp32_bytes: The size of the layer's weights in fp32.
        primitive: The primitive that stands for this rounding in `Simulator.build`.
    """

    part: Part
    bits: int
    form: str
    size_bytes: int
    fp32_bytes: int
    primitive: Primitive


class Simulator(Protocol):
    """Rounds the values of layers. Knows no board, and never runs anything."""

    name: str

    def roundings(self, layer: Layer, bits: int, calibration: Calibration) -> Sequence[Rounding]:
        """The ways to round a layer; none where the layer has no weights to multiply with.

        Args:
            layer: The layer of a network.
            bits: The number of bits of each value.
            calibration: The calibration of that network.
        """
        ...

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes a segment whose layers are `EXACT` or rounded; see `qsdnn.engine.Engine.build`.

        Raises:
            BuildError: The operators of the segment are of too old a version to be rounded.
        """
        ...


def load_simulator(name: str) -> Simulator:
    """The registered simulator of that name.

    Raises:
        InputError: The name is not registered.
    """
    simulator: Simulator = load_plugins(GROUP, "simulator", [name])[name]
    return simulator
