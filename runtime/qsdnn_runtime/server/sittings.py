"""Sittings: a group is measured in several processes, one after another, and the runs pooled.

The places of memory in a process make some plans faster and others slower, in all of their runs:
two equal plans of a tiny network differed by 12 % in a process that measured both. More runs do not
help against that; more processes do, with packages loaded in another order.

Where not all packages are loaded at once, a sitting is one child for each shift of packages.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import mean
from typing import Any, Dict, List, Mapping, Sequence

from qsdnn_runtime.board.disturbance import undisturbed
from qsdnn_runtime.protocol import MeasureOptions, Trust

from .trust import judge, median_interval

# The keys of a record's context that are known for each sitting: shares, and counts.
SHARES = ("waited_share", "others_share", "others_here_share", "steal_share")
COUNTS = ("disturbed_runs", "involuntary_switches")


def share(options: MeasureOptions, part: float = 1.0) -> MeasureOptions:
    """The options of one child: its part of a group's budget and runs.

    Args:
        options: The options of the group.
        part: The share of the group's packages that the child loads.
    """
    count = options.sittings
    return replace(
        options,
        budget_s=options.budget_s * part / count,
        min_runs=math.ceil(options.min_runs / count),
        max_runs=math.ceil(options.max_runs / count),
    )


def order(indices: Sequence[int], sitting: int) -> List[int]:
    """The order in which packages are loaded: reversed in every second sitting."""
    return sorted(indices, reverse=sitting % 2 == 1)


def turn(shifts: Sequence[List[int]], sitting: int) -> List[List[int]]:
    """The order in which shifts work: reversed in every second sitting, against drift."""
    return list(shifts)[:: -1 if sitting % 2 else 1]


def pool(records: Sequence[Mapping[str, Any]], precision: float) -> Dict[str, Any]:
    """One record of a package, pooled from all sittings.

    Args:
        records: The records, at least one, all ended well; the context is taken from the first.
        precision: The precision asked for: see `qsdnn_runtime.server.trust.judge`.
    """
    first = records[0]
    runs_ms: List[float] = []
    disturbed: List[int] = []
    for record in records:
        disturbed += [len(runs_ms) + number for number in record.get("disturbed", ())]
        runs_ms += record["runs_ms"]
    throttled = any(record["trust"] == Trust.THROTTLED for record in records)
    errors = [record["max_error"] for record in records if record["max_error"] is not None]
    pooled = {
        **first,
        "runs_ms": runs_ms,
        "disturbed": disturbed,
        "segments_ms": [run for record in records for run in record["segments_ms"]],
        "ci95_ms": median_interval(undisturbed(runs_ms, disturbed)),
        "max_error": max(errors, default=None),
        "context": {
            **first["context"],
            **_taken([record["context"] for record in records]),
            "sittings": [len(record["runs_ms"]) for record in records],
        },
    }
    return {**pooled, "trust": Trust.THROTTLED if throttled else judge(pooled, precision)}


def _taken(contexts: Sequence[Mapping[str, Any]]) -> Dict[str, Any]:
    """What others took: the mean of shares, as sittings are equally long; the sum of counts."""
    found: Dict[str, Any] = {}
    for keys, together in ((SHARES, mean), (COUNTS, sum)):
        for key in keys:
            known = [context[key] for context in contexts if key in context]
            if len(known) == len(contexts):
                found[key] = together(known)
    return found
