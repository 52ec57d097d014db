"""The search for the ranges of a network's tensors in a user's inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from qsdnn.plugin import load_plugins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qsdnn.model.calibration import Calibration
    from qsdnn.model.layer import Graph

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
