"""Trials: plans built and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qsdnn.board import MeasureOptions, Package, Record, State
from qsdnn.build import Builder
from qsdnn.cost.fit import Observation
from qsdnn.errors import BoardError
from qsdnn.search.config import SearchConfig
from qsdnn.search.listener import Listener
from qsdnn.search.measurer import Measurer, drift
from qsdnn.segment import Segment
from qsdnn.space import Space

GROUP = 4
"""Plans measured side by side, besides the anchor: few enough to fit a small board's memory."""


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
    def ok(self) -> bool:
        """Whether it ran and gave the right outputs."""
        return self.record.state is State.OK

    @property
    def latency_ms(self) -> float:
        """Its latency, had the machine not drifted; infinite when it did not end well."""
        return self.record.latency_ms / self.drift if self.ok else float("inf")

    def observations(self, space: Space) -> list[Observation]:
        """What its segments' times say about the cost model."""
        edge_of = {edge.tensor: i for i, edge in enumerate(space.edges)}
        outside_ms = self.record.latency_ms - sum(self.record.segment_ms)
        share_ms = outside_ms / len(self.segments)  # the loop around the segments
        return [
            Observation(
                family=space.families.index(segment.family),
                layers=tuple(layer.index for layer in segment.layers),
                primitives=tuple(int(self.choice[layer.index]) for layer in segment.layers),
                entering=tuple(edge_of[name] for name in segment.inputs if name in edge_of),
                leaving=tuple(edge_of[name] for name in segment.outputs if name in edge_of),
                ms=(ms + share_ms) / self.drift,
            )
            for segment, ms in zip(self.segments, self.record.segment_ms, strict=True)
        ]


class Bench:
    """Builds and measures plans of one space.

    Args:
        space: What can be chosen.
        builder: Of the network.
        measurer: Of the board.
        config: The search.
        listener: Told of progress.
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
        self._builder = builder
        self._known_ms: dict[str, float] = {}

    def measure(
        self,
        choices: Sequence[NDArray[np.int64]],
        purpose: str,
        options: MeasureOptions,
        *,
        anchors: Sequence[Trial] = (),
    ) -> list[Trial]:
        """Measures plans side by side, interleaved with the anchors.

        Raises:
            BoardError: The board was lost; what was measured is stored.
        """
        plans = [[self.space.primitives[p] for p in choice] for choice in choices]
        segments = [self._builder.segments(plan) for plan in plans]
        packages = [self._builder.package(cut) for cut in segments]
        records = self.measurer.measure(
            packages,
            purpose,
            options,
            anchors=[anchor.package for anchor in anchors],
            on_progress=self.listener.status,
        )
        if any(record.state is State.BOARD_LOST for record in records):
            lost = next(r for r in records if r.state is State.BOARD_LOST)
            raise BoardError(
                f"the board was lost: {lost.error}",
                hint="what was measured is stored: the same command goes on from there",
            )
        built = zip(choices, segments, packages, records, strict=True)
        return [
            Trial(
                choice=np.asarray(choice),
                segments=tuple(cut),
                package=package,
                record=record,
                drift=drift(record, self._known_ms),
            )
            for choice, cut, package, record in built
        ]

    def in_groups(
        self, choices: Sequence[NDArray[np.int64]], anchors: Sequence[Trial]
    ) -> list[Trial]:
        """Measures any number of plans, a few at a time."""
        trials: list[Trial] = []
        for start in range(0, len(choices), GROUP):
            group = choices[start : start + GROUP]
            trials += self.measure(group, "plan", self.options(), anchors=anchors)
            for trial in trials[-len(group) :]:
                self._tell(trial)
                self.listener.step()
        return trials

    def remember(self, trials: Mapping[str, Trial]) -> None:
        """Takes the first latency of anchors: later measurements are held against it."""
        self._known_ms |= {t.package.digest: t.record.latency_ms for t in trials.values() if t.ok}

    def options(self) -> MeasureOptions:
        """How a plan is measured while searching."""
        return MeasureOptions(
            threads=self.config.threads, min_runs=7, max_runs=150, precision=0.01, budget_s=6.0
        )

    def _tell(self, trial: Trial) -> None:
        if not trial.ok:
            self.listener.note(f"a plan ended as {trial.record.state}: {trial.record.error}")
