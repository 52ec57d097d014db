"""Calibration: the values that a network's tensors take on a user's inputs, and what finds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from qsdnn.errors import BuildError
from qsdnn.plugin import load_plugins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qsdnn.model.layer import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The range of each activation, from which its integer scale follows.

    Attributes:
        method: The method of dealing with outliers: ``"minmax"``, ``"entropy"``, ``"percentile"``.
        ranges: The (lowest, highest) value of each tensor, by its name in the graph.
    """

    method: str
    ranges: Mapping[str, tuple[float, float]] = field(repr=False)

    @property
    def digest(self) -> str:
        """The hash of method and ranges, part of what a built artifact is known by."""
        content = json.dumps([self.method, sorted(self.ranges.items())])
        return hashlib.sha256(content.encode()).hexdigest()

    def range(self, tensor: str) -> tuple[float, float]:
        """The range of a tensor, always with 0 in it, as padding needs a zero that is exact.

        Raises:
            BuildError: The tensor was not seen when calibrating.
        """
        if tensor not in self.ranges:
            raise BuildError(f"the calibration has no range of tensor '{tensor}'")
        low, high = self.ranges[tensor]
        return min(low, 0.0), max(high, 0.0)


GROUP = "qsdnn.calibrators"


@runtime_checkable
class Calibrator(Protocol):
    """Runs a network in fp32 and watches its tensors; `name` becomes `Calibration.method`."""

    name: str

    def calibrate(
        self,
        graph: Graph,
        inputs: Mapping[str, NDArray[Any]],
        progress: Callable[[int, int], None] | None = None,
    ) -> Calibration:
        """The range of every floating-point activation, graph inputs too.

        Args:
            graph: The network.
            inputs: The examples (n, …) by input name; the network is given as many at a time as it
                takes.
            progress: Called with the number of runs that are done and of all runs.

        Raises:
            InputError: The inputs do not fit the network, or have values that are not finite.
        """
        ...


def load_calibrator(name: str) -> Calibrator:
    """The registered calibrator of that name.

    Raises:
        InputError: The name is not registered.
    """
    calibrator: Calibrator = load_plugins(GROUP, "calibrator", [name])[name]
    return calibrator
