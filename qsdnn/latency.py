"""Latency: what runs say of a plan's latency on a machine that nothing else disturbs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

QUIET = 0.25
"""The quantile of a sitting's whole runs that plans are ranked by. Other processes only ever add
time: the quantile holds still until three quarters of the runs are slowed down, where the median
moves with half of them. The quantile is not lower, for then the luckiest run would decide, and of
twice the runs there is a luckier one: of seven runs it lies between the second and the third, of
three between the first two, and its mean does not move with their number."""

QUIET_SEGMENT = 0.1
"""The quantile of a segment's runs that tells how a plan's time is divided among its segments. Each
segment is slowed down in other runs, so that such quantiles do not add up to a time in which the
plan ever ran (one of 19 segments: 5.1 ms, its fastest run 9.1): only their proportions are used.
These were within 3 % on two cores with eight busy processes, where medians told nothing."""


ENOUGH = 3
"""The number of undisturbed runs that are enough to count alone: what disturbs only adds time, so
that few runs without it say more than many with it. `qsdnn_runtime.board.disturbance.ENOUGH` is its
twin."""

PAIRS_SHARE = 0.2
"""The least share of undisturbed pairs among all pairs that count alone, if they are `ENOUGH`. Else
all pairs count: neighbouring runs are disturbed alike, and the comparison of many is surer than
that of few."""

Sittings = Sequence[Sequence[float] | NDArray[np.float64]]
"""The milliseconds of the runs of each process, in the order of the runs."""


def undisturbed(sittings_ms: Sittings, disturbed: Sequence[int]) -> list[NDArray[np.float64]]:
    """The runs by sitting, with NaN for the disturbed; without where fewer than `ENOUGH` are left.

    Args:
        sittings_ms: The milliseconds of all runs, by sitting.
        disturbed: The numbers of the disturbed runs, counted through all sittings.
    """
    kept = _masked(sittings_ms, disturbed)
    left = sum(np.isfinite(part).sum() for part in kept)
    return kept if left >= ENOUGH else _masked(sittings_ms, ())


def pairs(
    a_ms: Sittings, a_disturbed: Sequence[int], b_ms: Sittings, b_disturbed: Sequence[int]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The runs of two interleaved plans by sitting: the i-th ones are neighbours in time.

    Of pairs with a disturbed run the first plan's run is NaN, as far as that leaves enough pairs.
    In
    each sitting the end of the longer sequence is left out.
    """
    whole = list(zip(_masked(a_ms, ()), _masked(b_ms, ()), strict=False))
    kept = list(zip(_masked(a_ms, a_disturbed), _masked(b_ms, b_disturbed), strict=False))
    found, left, count = [], 0, 0
    for (a, b), (kept_a, kept_b) in zip(whole, kept, strict=True):
        both = min(len(a), len(b))
        calm = np.isfinite(kept_a[:both]) & np.isfinite(kept_b[:both])
        found.append((np.where(calm, a[:both], np.nan), b[:both]))
        left, count = left + int(calm.sum()), count + both
    if left >= max(ENOUGH, PAIRS_SHARE * count):
        return found
    return [(a[: len(b)], b[: len(a)]) for a, b in whole]


def _masked(sittings_ms: Sittings, out: Sequence[int]) -> list[NDArray[np.float64]]:
    if not sittings_ms:
        return []
    runs_ms = np.array([run for part in sittings_ms for run in part], dtype=float)
    runs_ms[list(out)] = np.nan
    return np.split(runs_ms, np.cumsum([len(part) for part in sittings_ms])[:-1])


def quiet_ms(sittings_ms: Sittings) -> float:
    """The latency when nothing else disturbs: a low quantile of whole runs.

    Of several sittings it is the median: the least would be that of a lucky process.

    Args:
        sittings_ms: The runs of each process in ms; NaN are left out, and sittings that have
            nothing else.
    """
    parts = [np.asarray(part) for part in sittings_ms]
    known = [part[np.isfinite(part)] for part in parts]
    return float(np.median([np.quantile(part, QUIET) for part in known if len(part)]))


def quiet_segment_ms(
    sittings: Sequence[NDArray[np.float64]], around: Sequence[NDArray[np.float64]], whole_ms: float
) -> tuple[float, ...]:
    """The time of each segment when nothing else disturbs.

    Args:
        sittings: The times of the segments in each process, (runs, segments) each.
        around: The time that each run took besides, (runs,) in each process: the loop around the
            segments.
        whole_ms: The time that the segments and the loop around them sum to.
    """
    parts = [np.column_stack(pair) for pair in zip(sittings, around, strict=True)]
    low = np.median(
        [np.quantile(part, QUIET_SEGMENT, axis=0) for part in parts if len(part)], axis=0
    )
    return tuple((low[:-1] * (whole_ms / low.sum())).tolist())
