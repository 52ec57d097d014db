"""The bench of a search: builds plans and measures them, a few side by side."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qsdnn.board import MeasureOptions, Package, Record, State
from qsdnn.cost.terms import Observation, segments_of
from qsdnn.listener import Listener
from qsdnn.measure.measurer import Measurer
from qsdnn.measure.paired import drift
from qsdnn.model.segment import Segment
from qsdnn.plan.build import Builder
from qsdnn.space import Space
from qsdnn.tuning.budget import Pace
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.stopwatch import Mark, Part, Stopwatch
from qsdnn.tuning.trial import Trial

GROUP = 4
"""The plans measured side by side, besides the anchor: few enough to fit a small board's memory."""

GROUP_S, GROUP_SHARE = 6.0, 0.05
"""The time for the runs of a group, at the most, and as a share of a short search's time."""

LONG_S = 600.0
"""The time from which on a search measures a group again that was noisy, which takes as long again.
What the rounds believe of a plan comes of its neighbours' runs, and the final decides."""


class Bench:
    """Builds and measures plans of one space.

    Args:
        space: The search space: the layers and what each may run as.
        builder: The builder of the network's packages.
        measurer: The measurer of packages on the board.
        config: The settings of the search.
        listener: The listener that is told of progress.
        stopwatch: The stopwatch of the search; None begins one.

    Attributes:
        pace: The pace of the board: how long measuring takes.
        stopwatch: The stopwatch of the search.
    """

    def __init__(
        self,
        space: Space,
        builder: Builder,
        measurer: Measurer,
        config: SearchConfig,
        listener: Listener,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.space = space
        self.measurer = measurer
        self.config = config
        self.listener = listener
        self.builder = builder
        self.pace = Pace()
        self.stopwatch = stopwatch or Stopwatch()
        self._known_ms: dict[str, float] = {}
        self._told = 0  # of the board's notes

    def within(self, space: Space) -> Bench:
        """The same bench for another space of the same network."""
        other = copy.copy(self)
        other.space = space
        return other

    def hold(self) -> None:
        """Waits until the board measures for this search alone."""
        self.measurer.hold(self.listener.status)
        self.listener.waited(self.measurer.counts.waited_s)

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

        The plans that come next, `ahead`, are built meanwhile if that disturbs no measurement.

        Raises:
            BoardError: The board was lost for good; what was measured is stored.
        """
        with self.stopwatch.part(Part.BUILDING):
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
        """Measures packages that are built, a bare engine among others; see `Measurer.measure`."""
        counts = self.measurer.counts
        start_s, taken, waited_s = time.monotonic(), counts.taken, counts.waited_s
        with self.stopwatch.board(lambda: self.measurer.spent_s):
            records = self.measurer.measure(
                packages,
                purpose,
                options,
                anchors=[anchor.package for anchor in anchors],
                paired=paired,
                on_progress=self.listener.status,
            )
        if counts.taken > taken:
            beside = [anchor.record for anchor in anchors]
            seconds = time.monotonic() - start_s - (counts.waited_s - waited_s)
            self.pace.learn(seconds, [*records, *beside], options)
        if counts.waited_s > waited_s:
            self.listener.waited(counts.waited_s)
        self._tell_notes()
        return records

    def _tell_notes(self) -> None:
        """Passes on the board's notes since the last time."""
        for note in self.measurer.notes[self._told :]:
            self.listener.note(note)
        self._told = len(self.measurer.notes)

    def tell_best(self, trials: Iterable[Trial]) -> None:
        """Tells the listener which latency is the least so far."""
        latencies_ms = [trial.latency_ms for trial in trials if trial.ok]
        if latencies_ms:
            self.listener.best(min(latencies_ms))

    def within_memory(self, record: Record) -> Record:
        """The record of a plan, unsupported where the plan takes more memory than it may."""
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
        """Measures any number of plans, a few at a time; with `weigh` their memory too."""
        trials: list[Trial] = []
        for start in range(0, len(choices), GROUP):
            group, ahead = choices[start : start + GROUP], choices[start + GROUP :][:GROUP]
            options = replace(self.options(), memory=weigh)
            trials += self.measure(group, purpose, options, anchors=anchors, ahead=ahead)
            self.stopwatch.mark(Mark.MIXED_PLANS)
            for trial in trials[-len(group) :]:
                self._tell(trial)
                self.listener.step()
        return trials

    def cut(self, choice: NDArray[np.int64]) -> list[Observation]:
        """The segments of a plan, for the cost model to predict; nothing is built."""
        segments = self.builder.segments([self.space.primitives[p] for p in choice])
        return segments_of(self.space, choice, segments)

    def remember(self, trials: Mapping[str, Trial]) -> None:
        """Takes the first latency of anchors, which later measurements are compared with."""
        self._known_ms |= {t.package.digest: t.record.quiet_ms for t in trials.values() if t.ok}

    def options(self) -> MeasureOptions:
        """The options of measuring a plan while searching."""
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
