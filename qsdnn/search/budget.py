"""The budget of a search: time, and measured plans."""

from __future__ import annotations

import time
from dataclasses import dataclass

from qsdnn.search.measurer import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much a search may still spend before it verifies what it has found.

    What the store knows counts as measured, so that an interrupted search goes on as it would have.

    Attributes:
        seconds: Wall time.
        measurements: Plans measured, uniform ones included; any number when None.
        counts: Of the measurer, which goes on counting.
        start_s: `time.monotonic` when it began.
    """

    seconds: float
    measurements: int | None
    counts: Counts
    start_s: float

    @property
    def plans(self) -> float:
        """How many plans may still be measured."""
        if self.measurements is None:
            return float("inf")
        return max(0, self.measurements - self.counts.taken - self.counts.cached)

    @property
    def over(self) -> str:
        """What is used up, for people; empty while nothing is."""
        if time.monotonic() > self.start_s + self.seconds:
            return "the time is over"
        return "" if self.plans else f"{self.measurements} plans were measured"
