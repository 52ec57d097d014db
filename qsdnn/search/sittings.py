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

from qsdnn.board import MeasureOptions, Package, Record, State, Trust
from qsdnn.search.measurer import paired_ratio
from qsdnn.search.trial import Bench, Trial
from qsdnn_runtime.interval import CONFIDENCE, interval_rank, median_interval

OFTEN = 0.25
"""Share of the sittings from which on a doubt about them is one about the whole: fewer do not move
the median of all."""

NOISY_SPREAD = 0.03
"""How far the interval of all runs may reach from the median: `qsdnn_runtime.trust`."""

SEVERITY = list(Trust)
"""States of trust, the best first."""

RUNS = MeasureOptions(min_runs=3, max_runs=45, precision=0.004, budget_s=1.7, again=0)
"""Of one sitting."""


class Kind(StrEnum):
    """What an entrant is."""

    MIXED = "mixed"
    UNIFORM = "uniform"
    BARE = "bare"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """What takes part.

    Attributes:
        name: For people.
        kind: A mixed plan, a uniform one, or an engine run bare, as it comes.
        package: What is measured.
        trial: The plan's earlier measurement; None of a bare engine.
    """

    name: str
    kind: Kind
    package: Package = field(repr=False)
    trial: Trial | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times as long one entrant took as another.

    Attributes:
        value: Median over the sittings that both took part in.
        low: Lower end of its interval.
        high: Upper end.
        sittings: How many they were; fewer than six give a range, and no 95 % interval.
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
        """Whether the first took less time, with 95 % confidence."""
        return self.is_interval and self.high < 1.0

    @property
    def inverse(self) -> Ratio:
        """The other way round: a speed-up."""
        return Ratio(
            value=1 / self.value, low=1 / self.high, high=1 / self.low, sittings=self.sittings
        )


class Sittings:
    """Measures entrants in sittings, which are stored one by one.

    Args:
        bench: Measures.
        purpose: What they are measured for, part of the store's key.
        entrants: All that may take part; none need take part in every sitting.
    """

    def __init__(self, bench: Bench, purpose: str, entrants: Sequence[Entrant]) -> None:
        self._bench = bench
        names = " ".join(entrant.package.digest[:8] for entrant in entrants)
        self._purpose = f"{purpose} {names}"
        self._records: list[dict[str, Record]] = []

    @property
    def count(self) -> int:
        """Sittings held so far."""
        return len(self._records)

    def hold(self, entrants: Sequence[Entrant], runs: MeasureOptions = RUNS) -> None:
        """One sitting of some entrants, loaded the other way round in every second one.

        Args:
            entrants: Who takes part.
            runs: How much.
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
        """How an entrant ended badly in any sitting; empty when it did not."""
        for record in self._of(entrant):
            if record.state is not State.OK:
                return f"{record.state}: {record.error}"
        return ""

    def record(self, entrant: Entrant) -> Record | None:
        """All runs of an entrant as one record; None where it never took part, or ended badly."""
        records = self._of(entrant)
        return None if not records or self.failure(entrant) else pool(records)

    def ratio(self, a: Entrant, b: Entrant, since: int = 0) -> Ratio | None:
        """Time of one entrant over that of another; None where they never sat together.

        Args:
            a: The one.
            b: The other; both ended well.
            since: The first sitting that counts.
        """
        pairs = [
            (sitting[a.package.digest], sitting[b.package.digest])
            for sitting in self._records[since:]
            if a.package.digest in sitting and b.package.digest in sitting
        ]
        if not pairs:
            return None
        first, second = (pool(records) for records in zip(*pairs, strict=True))
        value, low, high = paired_ratio(first, second)
        return Ratio(value=value, low=low, high=high, sittings=len(pairs))

    def _of(self, entrant: Entrant) -> list[Record]:
        digest = entrant.package.digest
        return [sitting[digest] for sitting in self._records if digest in sitting]


def pool(records: Sequence[Record]) -> Record:
    """One record of an entrant's sittings.

    Args:
        records: At least one, all of which ended well; the first tells what it ran under.
    """
    runs_ms = tuple(run for record in records for run in record.runs_ms)
    errors = [record.max_error for record in records if record.max_error is not None]
    parts = [count for record in records for count in _sitting_lengths(record)]
    return replace(
        records[0],
        runs_ms=runs_ms,
        segments_ms=tuple(run for record in records for run in record.segments_ms),
        ci95_ms=median_interval(runs_ms),
        max_error=max(errors, default=None),
        trust=_trust(records, runs_ms),
        context={**records[0].context, "sittings": parts},
    )


def _sitting_lengths(record: Record) -> list[int]:
    return [len(part) for part in record.sittings_ms]


def _trust(records: Sequence[Record], runs_ms: Sequence[float]) -> Trust:
    """The worst that many of the sittings say; noise is asked of all runs together."""
    for trust in reversed(SEVERITY):
        if trust in (Trust.STABLE, Trust.NOISY):
            continue
        if sum(record.trust is trust for record in records) >= OFTEN * len(records):
            return trust
    low, high = median_interval(runs_ms)
    middle = sorted(runs_ms)[len(runs_ms) // 2]
    return Trust.NOISY if max(high - middle, middle - low) > NOISY_SPREAD * middle else Trust.STABLE
