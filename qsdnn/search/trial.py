"""Trials: plans built and measured."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qsdnn.board import MeasureOptions, Package, Record, State, Trust
from qsdnn.build import Builder
from qsdnn.cost.terms import ENTER, LEAVE, Observation
from qsdnn.search.config import SearchConfig
from qsdnn.search.listener import Listener
from qsdnn.search.measurer import Measurer, drift
from qsdnn.search.pace import Pace
from qsdnn.segment import Segment
from qsdnn.space import Space

GROUP = 4
"""Plans measured side by side, besides the anchor: few enough to fit a small board's memory."""

GROUP_S, GROUP_SHARE = 6.0, 0.05
"""Time for the runs of a group, at the most, and as a share of a short search's."""

LONG_S = 120.0
"""Searches that have so long measure a group again that was noisy. What the rounds believe of a
plan comes of its neighbours' runs, and the final decides."""

DOUBT = {Trust.STABLE: 1.0, Trust.NOISY: 2.0, Trust.DISTURBED: 2.0, Trust.THROTTLED: 4.0}
"""How many times less exact a measurement is by its trust."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A plan that was measured.

    Attributes:
        choice: (layers,) primitive indices.
        segments: What it was built as.
        package: What was measured.
        record: The measurement.
        drift: How much slower the machine was than when its anchors were first measured.
    """

    choice: NDArray[np.int64]
    segments: tuple[Segment, ...] = field(repr=False)
    package: Package
    record: Record = field(repr=False)
    drift: float = 1.0

    @property
    def key(self) -> bytes:
        """The same for trials of the same plan."""
        return self.choice.tobytes()

    @property
    def ok(self) -> bool:
        """Whether it ran and gave the right outputs."""
        return self.record.state is State.OK

    @property
    def throttled(self) -> bool:
        """Whether the board slowed down while it was measured."""
        return self.record.trust is Trust.THROTTLED

    @property
    def latency_ms(self) -> float:
        """Its latency on a quiet machine that had not drifted; infinite when it ended badly."""
        return self.record.quiet_ms / self.drift if self.ok else float("inf")

    def observations(self, space: Space) -> list[Observation]:
        """What its segments' times say about the cost model."""
        segment_ms = self.record.quiet_segment_ms
        # the loop around the segments
        share_ms = (self.record.quiet_ms - sum(segment_ms)) / len(self.segments)
        return [
            replace(part, ms=(ms + share_ms) / self.drift, doubt=DOUBT[self.record.trust])
            for part, ms in zip(_parts(space, self.choice, self.segments), segment_ms, strict=True)
        ]


def _parts(
    space: Space, choice: NDArray[np.int64], segments: Sequence[Segment]
) -> list[Observation]:
    """The segments of a plan, not measured."""
    crossings = _crossings(space, choice, segments)
    parts = []
    for segment, crossed in zip(segments, crossings, strict=True):
        layers = tuple(layer.index for layer in segment.layers)
        parts.append(
            Observation(
                layers=layers,
                primitives=tuple(int(choice[layer]) for layer in layers),
                crossings=tuple(crossed),
            )
        )
    return parts


def _crossings(
    space: Space, choice: NDArray[np.int64], segments: Sequence[Segment]
) -> list[list[tuple[int, int, int]]]:
    """What enters and leaves a domain in each segment: each tensor once a domain and direction.

    Likewise the layouts that domains have in common, where a tensor is not handed over in one.
    """
    domains = space.domain_of[np.asarray(choice)].tolist()
    kept = {name for segment in segments for name in segment.layouts}
    place = {layer.index: n for n, segment in enumerate(segments) for layer in segment.layers}
    handed = {name for segment in segments for name in segment.outputs}
    found: list[list[tuple[int, int, int]]] = [[] for _ in segments]
    for t, edge in enumerate(space.edges):
        here, home = place[edge.producer], domains[edge.producer]
        readers: dict[int, set[int]] = {here: set()}
        for consumer in edge.consumers:
            readers.setdefault(place[consumer], set()).add(domains[consumer])
        readers[here].discard(home)
        if edge.tensor in handed or readers[here]:
            found[here].append((LEAVE, t, home))
        for number, entered in readers.items():
            found[number] += [(ENTER, t, domain) for domain in sorted(entered)]
        for label, has in space.shared_layouts:
            outside = edge.tensor in handed and edge.tensor not in kept
            if home in has and (outside or not readers[here] <= has):
                found[here].append((LEAVE, t, label))
            for number, entered in readers.items():
                converted = home not in has if number == here else edge.tensor not in kept
                if converted and not entered.isdisjoint(has):
                    found[number].append((ENTER, t, label))
    return found


class Bench:
    """Builds and measures plans of one space.

    Args:
        space: What can be chosen.
        builder: Of the network.
        measurer: Of the board.
        config: The search.
        listener: Told of progress.

    Attributes:
        pace: How long the board takes.
    """

    def __init__(
        self,
        space: Space,
        builder: Builder,
        measurer: Measurer,
        config: SearchConfig,
        listener: Listener,
    ) -> None:
        self.space = space
        self.measurer = measurer
        self.config = config
        self.listener = listener
        self.builder = builder
        self.pace = Pace()
        self._known_ms: dict[str, float] = {}
        self._told = 0  # of the board's notes

    def measure(
        self,
        choices: Sequence[NDArray[np.int64]],
        purpose: str,
        options: MeasureOptions,
        *,
        anchors: Sequence[Trial] = (),
        paired: bool = False,
        ahead: Sequence[NDArray[np.int64]] = (),
    ) -> list[Trial]:
        """Measures plans side by side, interleaved with the anchors; see `Measurer.measure`.

        Those that come after them, `ahead`, are built meanwhile if that disturbs no measurement.

        Raises:
            BoardError: The board was lost for good; what was measured is stored.
        """
        segments, packages = self._build(choices)
        if self.config.weighs:
            purpose, options = f"{purpose}, memory", replace(options, memory=True)
        with self._building(ahead):
            records = self.measure_packages(
                packages, purpose, options, anchors=anchors, paired=paired
            )
        latest = {
            p.digest: r.quiet_ms
            for p, r in zip(packages, records, strict=True)
            if r.state is State.OK
        }
        known_ms = {**latest, **self._known_ms}
        built = zip(choices, segments, packages, records, strict=True)
        return [
            Trial(
                choice=np.asarray(choice),
                segments=tuple(cut),
                package=package,
                record=self.within_memory(record),
                drift=drift(record, known_ms),
            )
            for choice, cut, package, record in built
        ]

    def measure_packages(
        self,
        packages: Sequence[Package],
        purpose: str,
        options: MeasureOptions,
        *,
        anchors: Sequence[Trial] = (),
        paired: bool = False,
    ) -> list[Record]:
        """Measures what is built already, a bare engine among others; see `Measurer.measure`."""
        start_s, taken = time.monotonic(), self.measurer.counts.taken
        records = self.measurer.measure(
            packages,
            purpose,
            options,
            anchors=[anchor.package for anchor in anchors],
            paired=paired,
            on_progress=self.listener.status,
        )
        if self.measurer.counts.taken > taken:
            beside = [anchor.record for anchor in anchors]
            self.pace.learn(time.monotonic() - start_s, [*records, *beside], options)
        self._tell_notes()
        return records

    def _tell_notes(self) -> None:
        """Passes on what the board had to say since the last time."""
        for note in self.measurer.notes[self._told :]:
            self.listener.note(note)
        self._told = len(self.measurer.notes)

    def tell_best(self, trials: Iterable[Trial]) -> None:
        """Tells the listener which latency is the least so far."""
        latencies_ms = [trial.latency_ms for trial in trials if trial.ok]
        if latencies_ms:
            self.listener.best(min(latencies_ms))

    def within_memory(self, record: Record) -> Record:
        """A plan that takes more memory than it may does not count."""
        most, taken = self.config.max_memory_mb, record.peak_memory_mb
        if most is None or taken is None or taken <= most:
            return record
        error = f"takes {taken:.0f} MB, --max-memory is {most:g} MB"
        return replace(record, state=State.UNSUPPORTED, error=error)

    def in_groups(
        self,
        choices: Sequence[NDArray[np.int64]],
        anchors: Sequence[Trial],
        purpose: str = "plan",
        *,
        weigh: bool = False,
    ) -> list[Trial]:
        """Measures any number of plans, a few at a time; `weigh` their memory too."""
        trials: list[Trial] = []
        for start in range(0, len(choices), GROUP):
            group, ahead = choices[start : start + GROUP], choices[start + GROUP :][:GROUP]
            options = replace(self.options(), memory=weigh)
            trials += self.measure(group, purpose, options, anchors=anchors, ahead=ahead)
            for trial in trials[-len(group) :]:
                self._tell(trial)
                self.listener.step()
        return trials

    def cut(self, choice: NDArray[np.int64]) -> list[Observation]:
        """The segments of a plan, for the cost model to predict; nothing is built."""
        segments = self.builder.segments([self.space.primitives[p] for p in choice])
        return _parts(self.space, choice, segments)

    def remember(self, trials: Mapping[str, Trial]) -> None:
        """Takes the first latency of anchors: later measurements are held against it."""
        self._known_ms |= {t.package.digest: t.record.quiet_ms for t in trials.values() if t.ok}

    def options(self) -> MeasureOptions:
        """How a plan is measured while searching."""
        return MeasureOptions(
            threads=self.config.threads,
            min_runs=7,
            max_runs=150,
            precision=0.01,
            budget_s=min(GROUP_S, max(1.0, GROUP_SHARE * self.config.budget_s)),
            again=1 if self.config.budget_s >= LONG_S else 0,
        )

    def _build(
        self, choices: Sequence[NDArray[np.int64]]
    ) -> tuple[list[list[Segment]], list[Package]]:
        plans = [[self.space.primitives[p] for p in choice] for choice in choices]
        segments = [self.builder.segments(plan) for plan in plans]
        return segments, [self.builder.package(cut) for cut in segments]

    @contextmanager
    def _building(self, choices: Sequence[NDArray[np.int64]]) -> Iterator[None]:
        """Builds plans in the background; the builder keeps the parts, and later finds them."""
        if not choices or not self.measurer.elsewhere:
            yield
            return
        with ThreadPoolExecutor(1) as background:
            background.submit(self._build, choices)  # what fails, fails again when it is needed
            yield

    def _tell(self, trial: Trial) -> None:
        if not trial.ok:
            self.listener.note(f"a plan ended as {trial.record.state}: {trial.record.error}")
