"""The budget of a search, and the pace at which it is spent.

A search keeps enough of its budget for the end, where the best plans and every engine are measured
against one another. How much that is depends on how long packages take to load and to run, which
the first look at each engine shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from qsdnn.board import MeasureOptions, Record, State
from qsdnn.measure.measurer import Counts
from qsdnn.tuning.trial import Trial

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


START_S = 0.5
"""The guessed time in seconds in which a process of the board starts and imports its engines."""

RUNS = MeasureOptions(min_runs=3, max_runs=45, precision=0.004, budget_s=1.0, again=0)
"""The options of one sitting of the final."""

FEWEST_CLAIMS = 6
"""The number of sittings that are the fewest for a 95 % interval."""

FAR = 2.0
"""The factor of the fastest within which a single engine sits in the final: what is further off
cannot win."""

RUNS_BESIDE = 4
"""The number of runs of a package that do not count: one checks its outputs, the others warm it
up."""


@dataclass(slots=True)
class Pace:
    """The durations on one board, for one network.

    Attributes:
        start_s: The time of a process before it loads a package.
        piece_s: The wall time of the last group that was profiled.
        profiled_s: The share of each package of that group in it.
    """

    start_s: float = START_S
    piece_s: float = 0.0
    profiled_s: float = 0.0
    _group_s: float = field(default=0.0, repr=False)
    _starts_s: list[float] = field(default_factory=list, repr=False)

    @property
    def group_s(self) -> float:
        """The wall time of a group of plans: of the last one, or as a profiled one lets expect."""
        return self._group_s or self.piece_s / 2

    def learn(self, seconds: float, records: Sequence[Record], options: MeasureOptions) -> None:
        """Learns from the time that one measurement of a group took.

        Args:
            seconds: The wall time, with building and sending.
            records: The records of the group.
            options: The options of the measurement.
        """
        if options.profile:
            self.piece_s, self.profiled_s = seconds, seconds / max(len(records), 1)
            return
        self._group_s = seconds
        if options.memory or options.sittings > 1:
            return
        busy_s = sum(load_s(r) + RUNS_BESIDE * latency_s(r) + sum(r.runs_ms) / 1e3 for r in records)
        self._starts_s.append(max(0.2, seconds - busy_s))
        self.start_s = sorted(self._starts_s)[len(self._starts_s) // 2]

    def sitting_s(self, records: Sequence[Record], runs: MeasureOptions) -> float:
        """The wall time of one process that loads and measures packages like these.

        Args:
            records: The records of earlier measurements of the packages.
            runs: The options of the runs that count.
        """
        once_s = sum(latency_s(record) for record in records)
        counted_s = max(runs.min_runs * once_s, min(runs.budget_s, runs.max_runs * once_s))
        loads_s = sum(load_s(record) for record in records)
        return self.start_s + loads_s + RUNS_BESIDE * once_s + counted_s

    def final_s(self, trials: Iterable[Trial], *, mixed: bool = True) -> float:
        """The wall time of the shortest final: each engine loaded a few times, and short runs.

        Args:
            trials: The trials of uniform plans, of which those that are far off do not take part.
            mixed: Whether a mixed plan is to be compared with the uniform ones.
        """
        ok = [trial for trial in trials if trial.ok]
        fastest_ms = min((trial.latency_ms for trial in ok), default=0.0)
        fastest: dict[str, Trial] = {}
        for trial in sorted(ok, key=lambda trial: trial.latency_ms):
            if trial.latency_ms <= FAR * fastest_ms:
                fastest.setdefault(trial.package.manifest["segments"][0]["engine"], trial)
        records = [trial.record for trial in fastest.values()]
        heat_s = self.sitting_s([*records, *records[:1], *records[:1]], RUNS)
        claim_s = self.sitting_s(records[:1] * 3, RUNS)
        return heat_s + (FEWEST_CLAIMS if mixed else 1) * claim_s


def load_s(record: Record) -> float:
    """The time to load a package, in seconds; 0 where the package did not run."""
    return record.load_ms / 1e3


def latency_s(record: Record) -> float:
    """The median latency in seconds; 0 where the package did not run."""
    return record.latency_ms / 1e3 if record.state is State.OK else 0.0
