"""The memory of an agent that is called again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsdnn.space import Space

KEPT = 8
"""The number of plans that are kept. Each is looked at again, which takes an episode."""


class Known:
    """The best plans of the last call, for the next one with the same space."""

    def __init__(self) -> None:
        self._space: Space | None = None
        self._plans: NDArray[np.int64] | None = None

    def remember(self, space: Space, plans: NDArray[np.int64]) -> None:
        """Keeps the first of some plans, best first."""
        self._space, self._plans = space, plans[:KEPT]

    def plans(self, space: Space) -> NDArray[np.int64]:
        """The plans known of a space (n, layers), best first; none of another space."""
        if self._space is None or self._plans is None or not space.same_as(self._space):
            return np.empty((0, len(space.layers)), dtype=np.int64)
        return self._plans
