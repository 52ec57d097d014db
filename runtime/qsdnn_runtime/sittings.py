"""Sittings: a group measured in several processes, one after another, and taken together.

Where a process's memory happens to lie makes some plans faster and others slower, in all of their
runs: two equal plans of a tiny network differed by 12 % in a process that measured both. More runs
do not help against that; more processes do, with packages loaded in another order.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, Sequence

from .interval import median_interval
from .trust import THROTTLED, judge


def share(options: Mapping[str, Any]) -> Dict[str, Any]:
    """What one sitting gets of the options of a group, see `qsdnn.board.MeasureOptions`."""
    count = options["sittings"]
    return {
        **options,
        "budget_s": options["budget_s"] / count,
        "min_runs": math.ceil(options["min_runs"] / count),
        "max_runs": math.ceil(options["max_runs"] / count),
    }


def order(indices: Sequence[int], sitting: int) -> List[int]:
    """In which order packages are loaded: the other way round in every second sitting."""
    return sorted(indices, reverse=sitting % 2 == 1)


def pool(records: Sequence[Mapping[str, Any]], precision: float) -> Dict[str, Any]:
    """One record of all sittings of a package.

    Args:
        records: At least one, all of which ended well; the first tells what it ran under.
        precision: What was asked for: see `qsdnn_runtime.trust.judge`.
    """
    first = records[0]
    runs_ms = [run for record in records for run in record["runs_ms"]]
    throttled = any(record["trust"] == THROTTLED for record in records)
    errors = [record["max_error"] for record in records if record["max_error"] is not None]
    return {
        **first,
        "runs_ms": runs_ms,
        "segments_ms": [run for record in records for run in record["segments_ms"]],
        "ci95_ms": median_interval(runs_ms),
        "max_error": max(errors, default=None),
        "trust": THROTTLED if throttled else judge(runs_ms, precision, []),
        "context": {
            **first["context"],
            "sittings": [len(record["runs_ms"]) for record in records],
        },
    }
