"""Sittings: entrants are measured side by side in one process after another, and compared.

Where a process's memory happens to lie makes some plans faster and others slower, in all of their
runs: two equal plans of a tiny network differed by 12 % in a process that measured both. So what is
claimed comes of several processes, in each of which every entrant is loaded anew, in another order.
In one process the runs of two entrants are interleaved and compared in pairs; the median of these
ratios is one sample, and the interval is that of the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from qsdnn.board import MeasureOptions, Package, Record, State, Trust
from qsdnn.measure.paired import interval_of, sitting_ratios
from qsdnn.tuning.bench import Bench
from qsdnn.tuning.budget import RUNS
from qsdnn.tuning.trial import Trial
from qsdnn_runtime.server.sittings import pool as pool_sittings
from qsdnn_runtime.server.trust import CONFIDENCE, interval_rank


class Kind(StrEnum):
    """The kinds of entrants."""

    MIXED = "mixed"
    UNIFORM = "uniform"
    BARE = "bare"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """An entrant of a final: a plan or an engine that takes part.

    Attributes:
        name: The name of the entrant, for people.
        kind: The kind: a mixed plan, a uniform one, or an engine run bare, as it comes.
        package: The package that is measured.
        trial: The earlier measurement of the plan; None of a bare engine.
    """

    name: str
    kind: Kind
    package: Package = field(repr=False)
    trial: Trial | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The ratio of the time of one entrant to that of another.

    Attributes:
        value: The median over the sittings that both took part in.
        low: The lower end of the ratio's interval.
        high: The upper end of the ratio's interval.
        sittings: The number of those sittings; fewer than six give a range, and no 95 % interval;
            0 where there was none, and the ratio is that of medians.
    """

    value: float
    low: float
    high: float
    sittings: int

    @property
    def is_interval(self) -> bool:
        """Whether low and high are a 95 % interval."""
        return interval_rank(self.sittings, CONFIDENCE) > 0

    @property
    def is_faster(self) -> bool:
        """Whether the first entrant took less time, with 95 % confidence."""
        return self.is_interval and self.high < 1.0

    @property
    def inverse(self) -> Ratio:
        """The ratio the other way round: a speed-up."""
        return Ratio(
            value=1 / self.value, low=1 / self.high, high=1 / self.low, sittings=self.sittings
        )


class Sittings:
    """Measures entrants in sittings, which are stored one by one.

    Args:
        bench: The bench that measures.
        purpose: The purpose of measuring, part of the store's key.
        entrants: The entrants that may take part; none need take part in every sitting.
    """

    def __init__(self, bench: Bench, purpose: str, entrants: Sequence[Entrant]) -> None:
        self._bench = bench
        names = " ".join(entrant.package.digest[:8] for entrant in entrants)
        self._purpose = f"{purpose} {names}"
        self._records: list[dict[str, Record]] = []

    @property
    def count(self) -> int:
        """The number of sittings held so far."""
        return len(self._records)

    def hold(self, entrants: Sequence[Entrant], runs: MeasureOptions = RUNS) -> None:
        """Holds one sitting of some entrants, loaded the other way round in every second one.

        Args:
            entrants: The entrants that take part.
            runs: The options of the runs that count.
        """
        number = self.count
        order = list(entrants) if number % 2 == 0 else list(reversed(entrants))
        options = replace(runs, threads=self._bench.config.threads)
        packages = [entrant.package for entrant in order]
        records = self._bench.measure_packages(
            packages, f"{self._purpose} {number}", options, paired=True
        )
        self._records.append(
            {package.digest: r for package, r in zip(packages, records, strict=True)}
        )

    def failure(self, entrant: Entrant) -> str:
        """The state and error of an entrant that ended badly in any sitting; else empty."""
        for record in self._of(entrant):
            if record.state is not State.OK:
                return f"{record.state}: {record.error}"
        return ""

    def record(self, entrant: Entrant) -> Record | None:
        """The runs of an entrant as one record; None where it never took part, or ended badly."""
        records = self._of(entrant)
        return None if not records or self.failure(entrant) else pool(records)

    def ratio(self, a: Entrant, b: Entrant, since: int = 0) -> Ratio | None:
        """The time of one entrant over that of another; None where they never sat together.

        Args:
            a: The first entrant, which ended well.
            b: The second entrant, which ended well.
            since: The first sitting that counts.
        """
        pairs = [
            (sitting[a.package.digest], sitting[b.package.digest])
            for sitting in self._records[since:]
            if a.package.digest in sitting and b.package.digest in sitting
        ]
        if not pairs:
            return None
        ratios = [ratio for a, b in pairs for ratio in sitting_ratios(a, b)]
        if not ratios:
            return None
        value, low, high = interval_of(ratios)
        return Ratio(value=value, low=low, high=high, sittings=len(ratios))

    def _of(self, entrant: Entrant) -> list[Record]:
        digest = entrant.package.digest
        return [sitting[digest] for sitting in self._records if digest in sitting]


def pool(records: Sequence[Record]) -> Record:
    """The record of all sittings of an entrant.

    Args:
        records: The records of the sittings, at least one, all of which ended well; the conditions
            are those of the first.
    """
    told = pool_sittings([_as_told(record) for record in records], RUNS.precision)
    low, high = told["ci95_ms"]
    return replace(
        records[0],
        runs_ms=tuple(told["runs_ms"]),
        segments_ms=tuple(told["segments_ms"]),
        disturbed=tuple(told["disturbed"]),
        ci95_ms=(low, high),
        max_error=told["max_error"],
        trust=Trust(told["trust"]),
        context=told["context"],
    )


def _as_told(record: Record) -> dict[str, Any]:
    """A record in the form in which the board told it."""
    return {
        "runs_ms": record.runs_ms,
        "segments_ms": record.segments_ms,
        "disturbed": record.disturbed,
        "max_error": record.max_error,
        "trust": record.trust.value,
        "context": record.context,
    }
