"""The trials of a search: plans that were built and measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qsdnn.board import Package, Record, State, Trust
from qsdnn.cost.crossings import segments_of
from qsdnn.cost.terms import Observation
from qsdnn.model.segment import Segment
from qsdnn.space import Space

DOUBT = {Trust.STABLE: 1.0, Trust.NOISY: 2.0, Trust.DISTURBED: 2.0, Trust.THROTTLED: 4.0}
"""The factor by which a measurement is less exact, by its trust."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A plan that was measured.

    Attributes:
        choice: The primitive index of each layer (layers,).
        segments: The segments that the plan was built as.
        package: The package that was measured.
        record: The record of the measurement.
        drift: The factor by which the machine was slower than when its anchors were first measured.
    """

    choice: NDArray[np.int64]
    segments: tuple[Segment, ...] = field(repr=False)
    package: Package
    record: Record = field(repr=False)
    drift: float = 1.0

    @property
    def key(self) -> bytes:
        """The key of the plan, the same for all its trials."""
        return self.choice.tobytes()

    @property
    def ok(self) -> bool:
        """Whether the plan ran and gave the right outputs."""
        return self.record.state is State.OK

    @property
    def throttled(self) -> bool:
        """Whether the board slowed down while the plan was measured."""
        return self.record.trust is Trust.THROTTLED

    @property
    def latency_ms(self) -> float:
        """The latency on a quiet machine without drift; infinite where the plan ended badly."""
        return self.record.quiet_ms / self.drift if self.ok else float("inf")

    def observations(self, space: Space) -> list[Observation]:
        """The observations that the times of the plan's segments give the cost model."""
        segment_ms = self.record.quiet_segment_ms
        # the loop around the segments
        share_ms = (self.record.quiet_ms - sum(segment_ms)) / len(self.segments)
        return [
            replace(part, ms=(ms + share_ms) / self.drift, doubt=DOUBT[self.record.trust])
            for part, ms in zip(
                segments_of(space, self.choice, self.segments), segment_ms, strict=True
            )
        ]
