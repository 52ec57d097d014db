"""Uniform plans: every layer on one primitive, with fall-backs where it cannot. The baselines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qsdnn.space import Space


def uniform_plans(space: Space) -> Mapping[str, NDArray[np.int64]]:
    """One plan for each primitive that a layer may take, by its name; equal plans appear once.

    A layer that cannot take the primitive takes one of the same domain, else family, else engine,
    else of onnxruntime, which runs everything, else what there is: each time what is offered first,
    which is what the engine does by default.

    Args:
        space: What can be chosen.

    Returns:
        (layers,) primitive indices by the primitive's name, the widest covering first.
    """
    plans: dict[str, NDArray[np.int64]] = {}
    seen: set[bytes] = set()
    covered = space.mask.sum(axis=0)
    places = space.places if space.places.size else np.zeros_like(space.mask, dtype=np.int64)
    for wanted in sorted(np.flatnonzero(covered).tolist(), key=lambda p: -int(covered[p])):
        away = np.array([_distance(space, wanted, p) for p in range(len(space.primitives))])
        order = away * (places.max() + 1) + places
        plan = np.where(space.mask, order, order.max() + 1).argmin(axis=1)
        if plan.tobytes() not in seen:
            seen.add(plan.tobytes())
            plans[str(space.primitives[wanted])] = plan
    return plans


def _distance(space: Space, wanted: int, candidate: int) -> int:
    """How unlike the wanted primitive another one is."""
    a, b = space.primitives[wanted], space.primitives[candidate]
    unlike = (
        a != b,
        a.domain != b.domain,
        a.family != b.family,
        a.engine != b.engine,
        b.engine != "onnxruntime",
    )
    return sum(differs << bit for bit, differs in enumerate(reversed(unlike)))
