"""The stopwatch of a search: what its wall time goes into, on the host and on the board."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

from qsdnn.board import Step


class Part(StrEnum):
    """The parts of a search's time."""

    PREPARING = "preparing"
    """Loading the program and the network, and asking the board what it has."""
    BUILDING = "building"
    SENDING = "sending"
    """Between host and board: sending packages, and waiting for what no process works on."""
    STARTING = "starting"
    """Starting processes on the board, which load the engines' libraries."""
    LOADING = "loading"
    CHECKING = "checking"
    """First runs of packages, whose outputs are compared with the reference's."""
    RUNNING = "running"
    """Timed runs, and those that warm up."""
    PROFILING = "profiling"
    EVALUATING = "evaluating"
    LEARNING = "learning"
    OTHER = "other"


STEPS = {
    Step.LOAD: Part.LOADING,
    Step.CHECK: Part.CHECKING,
    Step.RUN: Part.RUNNING,
    Step.PROFILE: Part.PROFILING,
}
"""The parts that steps of a board's processes belong to; other steps belong to `Part.STARTING`."""


class Mark(StrEnum):
    """The points that a search reaches."""

    FIRST_PLAN = "first plan"
    """The best uniform plan is known, and written as an interim plan."""
    MIXED_PLANS = "mixed plans"
    """The first mixed plans are measured."""
    BEST_PLAN = "best plan"
    """The last plan is found that took the place of a slower one."""


class Stopwatch:
    """Tells the parts of the time that passes: a part within another interrupts the outer one.

    Args:
        start_s: The time when the first part, `Part.PREPARING`, began, by `clock`.
        clock: A function that gives the seconds of a clock that never goes back.
    """

    def __init__(
        self, start_s: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._since_s = clock() if start_s is None else start_s
        self._part = Part.PREPARING
        self._spent_s: dict[Part, float] = defaultdict(float)
        self._start_s = self._since_s
        self._reached_s: dict[Mark, float] = {}

    @contextmanager
    def part(self, part: Part) -> Iterator[None]:
        """The time within is of one part; after it the part before goes on."""
        outer = self._turn_to(part)
        try:
            yield
        finally:
            self._turn_to(outer)

    @contextmanager
    def board(self, spent_s: Callable[[], Mapping[str, float]]) -> Iterator[None]:
        """The time within is the board's, by its own account; the rest of it is of `SENDING`.

        Args:
            spent_s: A function that tells how long the board's processes have spent in each step,
                in all, in seconds.
        """
        before = dict(spent_s())
        with self.part(Part.SENDING):
            yield
        for step, seconds in spent_s().items():
            passed_s = seconds - before.get(step, 0.0)
            self._spent_s[STEPS.get(Step(step), Part.STARTING)] += passed_s
            self._spent_s[Part.SENDING] -= passed_s

    def prepared(self) -> None:
        """Ends the first part: what is not said to be of another part is of `Part.OTHER`."""
        self._turn_to(Part.OTHER)

    def spent_s(self) -> dict[str, float]:
        """The seconds of each part so far, without those that took none."""
        self._turn_to(self._part)
        return {part.value: self._spent_s[part] for part in Part if self._spent_s[part] > 0}

    def mark(self, mark: Mark) -> None:
        """Notes that a point is reached now; of some points the first time counts."""
        if mark is Mark.BEST_PLAN or mark not in self._reached_s:
            self._reached_s[mark] = self._clock() - self._start_s

    def reached_s(self) -> dict[str, float]:
        """The seconds from the start to each point that was reached."""
        return {mark.value: self._reached_s[mark] for mark in Mark if mark in self._reached_s}

    def _turn_to(self, part: Part) -> Part:
        now_s, last = self._clock(), self._part
        self._spent_s[last] += now_s - self._since_s
        self._since_s, self._part = now_s, part
        return last
