"""Uniform plans: every layer on one primitive, with fall-backs where it cannot. The baselines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qsdnn.space import Space


def uniform_plans(space: Space) -> Mapping[str, NDArray[np.int64]]:
    """One plan for each primitive that a layer may take, by its name; equal plans appear once.

    A layer that cannot take the primitive takes one of the same domain, else family, else engine,
    else of onnxruntime, which runs everything, else what there is.

    Args:
        space: What can be chosen.

    Returns:
        (layers,) primitive indices by the primitive's name, the widest covering first.
    """
    plans: dict[str, NDArray[np.int64]] = {}
    seen: set[bytes] = set()
    covered = space.mask.sum(axis=0)
    for wanted in sorted(np.flatnonzero(covered).tolist(), key=lambda p: -int(covered[p])):
        order = sorted(range(len(space.primitives)), key=lambda p: _distance(space, wanted, p))
        plan = np.array([next(p for p in order if row[p]) for row in space.mask], dtype=np.int64)
        if plan.tobytes() not in seen:
            seen.add(plan.tobytes())
            plans[str(space.primitives[wanted])] = plan
    return plans


def _distance(space: Space, wanted: int, candidate: int) -> tuple[int, ...]:
    a, b = space.primitives[wanted], space.primitives[candidate]
    return (
        a != b,
        a.domain != b.domain,
        a.family != b.family,
        a.engine != b.engine,
        b.engine != "onnxruntime",
        candidate,
    )
