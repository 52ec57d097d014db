"""The pace of a search: how long the board takes for what comes next, told from what it did.

A search keeps enough of its budget for the end, where the best plans and every engine are measured
against one another. How much that is depends on how long packages take to load and to run, which
the first look at each engine shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from qsdnn.board import MeasureOptions, Record, State
from qsdnn.tuning.trial import Trial

START_S = 0.5
"""A process of the board is started and imports its engines, in seconds, before it is known."""

RUNS = MeasureOptions(min_runs=3, max_runs=45, precision=0.004, budget_s=1.7, again=0)
"""Of one sitting of the final."""

FEWEST_CLAIMS = 6
"""Sittings that are the fewest for a 95 % interval."""

FAR = 3.0
"""A single engine sits in the final while the search saw it within that factor of the fastest: what
is further off cannot win."""

RUNS_BESIDE = 4
"""Runs of a package besides those that count: one checks its outputs, the others warm it up."""


@dataclass(slots=True)
class Pace:
    """Durations on one board, for one network.

    Attributes:
        start_s: Time of a process before it loads a package.
        piece_s: Wall time of the last group of plans that was also profiled; 0 before the first.
        profiled_s: That time for each of its plans.
    """

    start_s: float = START_S
    piece_s: float = 0.0
    profiled_s: float = 0.0
    _group_s: float = field(default=0.0, repr=False)
    _starts_s: list[float] = field(default_factory=list, repr=False)

    @property
    def group_s(self) -> float:
        """Wall time of a group of plans: of the last one, or what a profiled one lets expect."""
        return self._group_s or self.piece_s / 2

    def learn(self, seconds: float, records: Sequence[Record], options: MeasureOptions) -> None:
        """Takes what one measurement of a group took.

        Args:
            seconds: Wall time, with building and sending.
            records: The group's.
            options: How it was measured.
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
        """Wall time of one process that loads and measures packages like these.

        Args:
            records: Of earlier measurements of them.
            runs: The runs that count.
        """
        once_s = sum(latency_s(record) for record in records)
        counted_s = max(runs.min_runs * once_s, min(runs.budget_s, runs.max_runs * once_s))
        loads_s = sum(load_s(record) for record in records)
        return self.start_s + loads_s + RUNS_BESIDE * once_s + counted_s

    def final_s(self, trials: Iterable[Trial], *, mixed: bool = True) -> float:
        """Wall time of the shortest final: each engine loaded a few times, and short runs.

        Args:
            trials: Uniform plans, of which those that are far off do not take part.
            mixed: Whether a mixed plan is to be held against them.
        """
        ok = [trial for trial in trials if trial.ok]
        fastest_ms = min((trial.latency_ms for trial in ok), default=0.0)
        fastest: dict[str, Trial] = {}
        for trial in sorted(ok, key=lambda trial: trial.latency_ms):
            if trial.latency_ms <= FAR * fastest_ms:
                fastest.setdefault(trial.package.manifest["segments"][0]["engine"], trial)
        records = [trial.record for trial in fastest.values()]
        heat_s = self.sitting_s([*records, *records, *records[:1]], RUNS)
        claim_s = self.sitting_s(records[:1] * 3, RUNS)
        return heat_s + (FEWEST_CLAIMS if mixed else 1) * claim_s


def load_s(record: Record) -> float:
    """Time to load a package, in seconds; 0 where it did not run."""
    return record.load_ms / 1e3


def latency_s(record: Record) -> float:
    """Median latency in seconds; 0 where it did not run."""
    return record.latency_ms / 1e3 if record.state is State.OK else 0.0
