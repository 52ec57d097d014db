"""The pace of a search: how long the board takes for what comes next, told from what it did.

A search keeps enough of its budget for the end, where the best plans and every engine are measured
against one another. How much that is depends on how long packages take to load and to run, which
the first look at each engine shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from qsdnn.board import Record, State

START_S = 1.5
"""A process of the board is started and imports its engines, in seconds, before it is known."""

RUNS_BESIDE = 4
"""Runs of a package besides those that count: one checks its outputs, the others warm it up."""


@dataclass(slots=True)
class Pace:
    """Durations on one board, for one network.

    Attributes:
        start_s: Time of a process before it loads a package.
        group_s: Wall time of the last group of plans that was measured; 0 before the first.
    """

    start_s: float = START_S
    group_s: float = 0.0
    _starts_s: list[float] = field(default_factory=list, repr=False)

    def learn(self, seconds: float, records: Sequence[Record], processes: int) -> None:
        """Takes what one measurement of a group took.

        Args:
            seconds: Wall time, with building and sending.
            records: The group's.
            processes: Processes that measured it, one after another.
        """
        busy_s = processes * sum(load_s(record) for record in records)
        busy_s += sum(sum(record.runs_ms) for record in records) / 1e3
        self._starts_s.append(max(0.2, (seconds - busy_s) / processes))
        self.start_s = sorted(self._starts_s)[len(self._starts_s) // 2]
        self.group_s = seconds

    def sitting_s(self, records: Sequence[Record], runs_s: float) -> float:
        """Wall time of one process that loads and measures packages like these.

        Args:
            records: Of earlier measurements of them.
            runs_s: Time for the runs that count.
        """
        beside_s = sum(RUNS_BESIDE * latency_s(record) for record in records)
        return self.start_s + sum(load_s(record) for record in records) + beside_s + runs_s


def load_s(record: Record) -> float:
    """Time to load a package, in seconds; 0 where it did not run."""
    return record.load_ms / 1e3


def latency_s(record: Record) -> float:
    """Median latency in seconds; 0 where it did not run."""
    return record.latency_ms / 1e3 if record.state is State.OK else 0.0
