"""Paired runs: what the records of packages that were measured side by side say of one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from qsdnn.board import Record
from qsdnn.latency import pairs, quiet_ms, undisturbed
from qsdnn_runtime.server.trust import median_interval


def drift(record: Record, known_ms: Mapping[str, float]) -> float:
    """The factor by which the machine is slower than when the anchors were first measured.

    Args:
        record: The record of a measurement beside anchors.
        known_ms: The first quiet latency of each anchor, by digest.

    Returns:
        A ratio to divide the record's times by; 1 when the record has no anchor.
    """
    ratios = [
        quiet_ms(undisturbed(*_anchor(record, digest))) / known_ms[digest]
        for digest in record.context.get("anchors_sittings_ms", {})
        if digest in known_ms
    ]
    return median(ratios) if ratios else 1.0


def runs_beside(record: Record, anchor: str) -> list[tuple[Sequence[float], Sequence[float]]]:
    """The runs of a record and of the anchor beside it, given by digest, for each sitting.

    Where one of two runs was disturbed there is NaN: see `qsdnn.latency.pairs`. For an anchor in a
    process of its own (`Context.anchors_apart`) there is one latency a sitting, of both.
    """
    beside = _anchor(record, anchor)
    if anchor in record.context.get("anchors_apart", []):
        sides = (undisturbed(record.sittings_ms, record.disturbed), undisturbed(*beside))
        sittings = zip(*sides, strict=False)
        return [
            ([quiet_ms([mine])], [quiet_ms([others])])
            for mine, others in sittings
            if np.isfinite(mine).any() and np.isfinite(others).any()
        ]
    found = pairs(record.sittings_ms, record.disturbed, *beside)
    return [(mine.tolist(), others.tolist()) for mine, others in found]


def _anchor(record: Record, digest: str) -> tuple[Sequence[Sequence[float]], Sequence[int]]:
    """The sittings of an anchor in ms, and the numbers of its disturbed runs."""
    sittings_ms = record.context.get("anchors_sittings_ms", {}).get(digest, [])
    return sittings_ms, record.context.get("anchors_disturbed", {}).get(digest, [])


def paired_ratio(a: Record, b: Record) -> tuple[float, float, float]:
    """The latency of a over that of b from interleaved runs: the median and its 95 % interval.

    The interval comes from order statistics, with no assumption about a distribution: of the ratios
    of neighbouring runs in one sitting; of the medians of the sittings where there are several.
    Fewer than six sittings have no such interval: their range is given.
    """
    parts = _ratios(a, b)
    return interval_of(_medians(parts) if len(parts) > 1 else parts[0].tolist())


def sitting_ratios(a: Record, b: Record) -> list[float]:
    """The latency of a over that of b in each sitting: the median of neighbouring runs' ratios."""
    return _medians(_ratios(a, b))


def interval_of(samples: Sequence[float]) -> tuple[float, float, float]:
    """The median of independent samples and its 95 % interval; their range where they are few."""
    low, high = median_interval(samples)
    return float(np.median(samples)), float(low), float(high)


def _medians(parts: Sequence[NDArray[np.float64]]) -> list[float]:
    return [float(np.median(part)) for part in parts]


def _ratios(a: Record, b: Record) -> list[NDArray[np.float64]]:
    """The ratios of neighbouring runs, by sitting, without sittings that have none."""
    ratios = [
        mine / others
        for mine, others in pairs(a.sittings_ms, a.disturbed, b.sittings_ms, b.disturbed)
    ]
    finite = [part[np.isfinite(part)] for part in ratios]
    return [part for part in finite if len(part)]
