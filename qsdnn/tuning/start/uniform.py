"""The uniform plans, the baselines: all layers on one primitive, with fall-backs where needed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qsdnn.space import Space


def uniform_plans(space: Space) -> Mapping[str, NDArray[np.int64]]:
    """The plan of each primitive that a layer may take, by its name; equal plans appear once.

    A layer that cannot take the primitive takes one of the same domain, else family, else engine,
    else of onnxruntime, which runs everything, else any: each time the one that is offered first,
    which is what the engine does by default.

    Args:
        space: The search space: the layers and what each may run as.

    Returns:
        The primitive indices (layers,) by the primitive's name, the widest covering first.
    """
    plans: dict[str, NDArray[np.int64]] = {}
    seen: set[bytes] = set()
    covered = space.mask.sum(axis=0)
    for wanted in sorted(np.flatnonzero(covered).tolist(), key=lambda p: -int(covered[p])):
        away = np.array([_distance(space, wanted, p) for p in range(len(space.primitives))])
        order = away * (space.preference.max() + 1) + space.preference
        plan = np.where(space.mask, order, order.max() + 1).argmin(axis=1)
        if plan.tobytes() not in seen:
            seen.add(plan.tobytes())
            plans[str(space.primitives[wanted])] = plan
    return plans


def _distance(space: Space, wanted: int, candidate: int) -> int:
    """The distance of a primitive from the wanted one: the more unlike, the greater."""
    a, b = space.primitives[wanted], space.primitives[candidate]
    unlike = (
        a != b,
        a.domain != b.domain,
        a.family != b.family,
        a.engine != b.engine,
        b.engine != "onnxruntime",
    )
    return sum(differs << bit for bit, differs in enumerate(reversed(unlike)))
