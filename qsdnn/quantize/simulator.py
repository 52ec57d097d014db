"""Simulators: what a layer would lose in an arithmetic, found with rounded values in fp32.

No engine need have kernels for it: onnxruntime computes in fp32 on weights and activations that
were rounded as that arithmetic would. Only accuracy is simulated, never time. A simulator builds as
an engine does, but is none: no search takes what it offers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from qsdnn.model.calibration import Calibration
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.plan.build import Builder
from qsdnn.plugin import load_plugins
from qsdnn.primitive import Precision, Primitive
from qsdnn.tuning.prepare import Prepared

if TYPE_CHECKING:
    from qsdnn.engine import Engine

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


class Simulation:
    """A simulator, and the network that it rounds.

    Args:
        name: The name of the simulator.
        prepared: The prepared network, already calibrated.
        folder: The folder of the artifacts.

    Attributes:
        builder: The builder of plans whose layers are exact or rounded.
    """

    def __init__(self, name: str, prepared: Prepared, folder: Path) -> None:
        bench, calibration = prepared.bench, prepared.calibration
        assert calibration is not None  # int8 is among the precisions of an analysis
        self._simulator = load_simulator(name)
        self._graph = prepared.graph
        self._calibration = calibration
        self.builder = Builder(
            prepared.graph,
            {ENGINE: cast("Engine", self._simulator)},  # it is asked for nothing but to build
            folder,
            threads=bench.builder.threads,
            calibration=calibration,
            infos=bench.measurer.info.engines,
        )

    def roundings(self, layer: int, bits: int) -> Sequence[Rounding]:
        """The ways to round a layer; none for layers that only onnxruntime may run."""
        one = self._graph.layers[layer]
        return () if one.pinned else self._simulator.roundings(one, bits, self._calibration)

    def plan(self, rounded: Mapping[int, Rounding]) -> list[Primitive]:
        """The primitive of each layer in a plan with some layers rounded.

        Args:
            rounded: The rounding of each rounded layer, by index; all others are exact.
        """
        return [
            rounded[layer.index].primitive if layer.index in rounded else EXACT
            for layer in self._graph.layers
        ]
