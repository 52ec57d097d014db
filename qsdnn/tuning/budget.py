"""The budget of a search: wall time for all of it, and a number of plans to measure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from qsdnn.measure.measurer import Counts

TIME_IS_OVER = "the time is over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The time and measurements a search may spend, from its first step to the verified plan.

    Measurements that the store knows count too, so that an interrupted search goes on as it would
    have. The time that the board was waited for does not count (`Counts.waited_s`).

    Attributes:
        seconds: The wall time of the whole search.
        measurements: The number of plans to measure at the most, uniform and mixed; None is any
            number.
        counts: The counts of the measurer, which goes on counting.
        start_s: The time when the search began, by `clock`.
        reserved_s: The part of the wall time that is kept for what must follow.
        clock: A function that gives the seconds of a clock that never goes back.
    """

    seconds: float
    measurements: int | None
    counts: Counts
    start_s: float
    reserved_s: float = 0.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    @property
    def elapsed_s(self) -> float:
        """The wall time since the search began, without the time the board was waited for."""
        return self.clock() - self.start_s - self.counts.waited_s

    @property
    def left_s(self) -> float:
        """The wall time until the budget is over, without what is reserved; negative after that."""
        return self.seconds - self.reserved_s - self.elapsed_s

    @property
    def plans(self) -> float:
        """The number of plans that may still be measured."""
        if self.measurements is None:
            return float("inf")
        return max(0, self.measurements - self.counts.taken - self.counts.cached)

    def less(self, seconds: float) -> Budget:
        """The same budget with less time: the rest is kept for what must follow later."""
        return replace(self, reserved_s=self.reserved_s + seconds)

    def ended(self, needed_s: float = 0.0) -> str:
        """The limit that is used up, for people; empty while there is enough.

        Args:
            needed_s: The time that the next step takes, and all that must follow it.
        """
        if self.left_s < needed_s:
            return TIME_IS_OVER
        return "" if self.plans else f"--measurements {self.measurements} is reached"


def unlimited(counts: Counts) -> Budget:
    """A budget that never ends.

    Args:
        counts: The counts of the measurer.
    """
    return Budget(seconds=float("inf"), measurements=None, counts=counts, start_s=0.0)
