"""What runs say of a plan's latency on a machine that nothing else disturbs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

QUIET = 0.25
"""The quantile of a sitting's whole runs that plans are ranked by. Other processes only ever add
time: it holds still until three quarters of the runs are slowed down, where the median moves with
half of them. It is not lower, for then the luckiest run would decide, and of twice the runs there
is a luckier one: of seven runs it lies between the second and the third, of three between the first
two, and its mean does not move with their number."""

QUIET_SEGMENT = 0.1
"""The quantile of a segment's runs that tells how a plan's time is divided among its segments. Each
segment is slowed down in other runs, so that such quantiles do not add up to a time in which the
plan ever ran (one of 19 segments: 5.1 ms, its fastest run 9.1): only their proportions are used.
These were within 3 % on two cores with eight busy processes, where medians told nothing."""


def quiet_ms(sittings_ms: Sequence[Sequence[float]]) -> float:
    """Latency when nothing else disturbs: a low quantile of whole runs.

    Of several sittings the median: the least would be that of a lucky process.

    Args:
        sittings_ms: The runs of each process; those of some may be none.
    """
    return float(np.median([np.quantile(part, QUIET) for part in sittings_ms if len(part)]))


def quiet_segment_ms(
    sittings: Sequence[NDArray[np.float64]], around: Sequence[NDArray[np.float64]], whole_ms: float
) -> tuple[float, ...]:
    """Time of each segment when nothing else disturbs.

    Args:
        sittings: (runs, segments) times in each process.
        around: (runs,) what each run took besides: the loop around the segments.
        whole_ms: What the segments and the loop around them sum to.
    """
    parts = [np.column_stack(pair) for pair in zip(sittings, around, strict=True)]
    low = np.median(
        [np.quantile(part, QUIET_SEGMENT, axis=0) for part in parts if len(part)], axis=0
    )
    return tuple((low[:-1] * (whole_ms / low.sum())).tolist())
