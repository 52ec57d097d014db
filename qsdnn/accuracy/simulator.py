"""Simulators: what a layer would lose in an arithmetic, told by rounded values in fp32.

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
from qsdnn.plugin import load_plugins
from qsdnn.primitive import Precision, Primitive
from qsdnn.model.segment import Artifact, Segment

GROUP = "qsdnn.simulators"

ENGINE = "onnxruntime"
"""What computes."""

EXACT = Primitive(
    engine=ENGINE, algorithm="nchwc", precision=Precision.FP32, family=ENGINE, format="nchwc"
)
"""How a layer runs whose values are not rounded."""


class Part(StrEnum):
    """Which values of a layer are rounded."""

    WEIGHTS = "weights"
    ACTIVATIONS = "activations"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """One way to round a layer's values.

    Attributes:
        part: Which.
        bits: Of each value.
        form: What was chosen for this layer, for people; of fixed-point weights e.g. ``"-1.9"``.
        size_bytes: Of the layer's weights, so stored; `fp32_bytes` where they are not rounded.
        fp32_bytes: Of the same in fp32.
        primitive: What `Simulator.build` takes for it.
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
        """The ways to round a layer that it has; none where it has no weights to multiply with.

        Args:
            layer: Of a network.
            bits: Of each value.
            calibration: Of that network.
        """
        ...

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes a segment whose layers are `EXACT` or rounded; see `qsdnn.engine.Engine.build`.

        Raises:
            BuildError: Its operators are too old to be rounded.
        """
        ...


def load_simulator(name: str) -> Simulator:
    """A registered simulator.

    Raises:
        InputError: The name is not registered.
    """
    simulator: Simulator = load_plugins(GROUP, "simulator", [name])[name]
    return simulator
