"""The networks whose layers have rounded values, built for one network and board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from qsdnn.accuracy.simulator import ENGINE, EXACT, Rounding, load_simulator
from qsdnn.plan.build import Builder
from qsdnn.primitive import Primitive
from qsdnn.tuning.prepare import Prepared

if TYPE_CHECKING:
    from qsdnn.engine import Engine


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
