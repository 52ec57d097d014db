"""The uniform plans of a space: one primitive wherever a layer can take it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qsdnn.primitive import Precision, parse_name
from qsdnn.space import Space

Choice = NDArray[np.int64]
"""The primitive index of each layer (layers,)."""

Kind = tuple[str, Precision]
"""An engine and the precision it computes in."""


def uniform_plans(space: Space) -> Mapping[str, Choice]:
    """The plan of each primitive that a layer may take, by its name; equal plans appear once.

    A layer that cannot take the primitive takes one of the same domain, else family, else engine,
    else of onnxruntime, which runs everything, else any: each time the one that is offered first,
    which is what the engine does by default.

    Args:
        space: The search space: the layers and what each may run as.

    Returns:
        The primitive indices (layers,) by the primitive's name, the widest covering first.
    """
    plans: dict[str, Choice] = {}
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


def defaults(space: Space, plans: Mapping[str, Choice]) -> list[str]:
    """The uniform plan of each engine and precision that is most like what the engine does alone.

    An engine offers a layer first what it would take itself: of several algorithms that suit
    different layers, none covers the network as the engine does.

    Args:
        space: The search space.
        plans: The uniform plans, by the primitive's name.

    Returns:
        The names of the plans, those in fp32 first.
    """
    kinds = [(primitive.engine, primitive.precision) for primitive in space.primitives]
    found: dict[Kind, tuple[int, str]] = {}
    for name, plan in plans.items():
        kind = kind_of(name)
        mine = space.mask & np.array([other == kind for other in kinds])
        own = np.where(mine, space.preference, len(kinds)).argmin(axis=1)
        alike = int(((plan == own) & mine.any(axis=1)).sum())
        if kind not in found or alike > found[kind][0]:
            found[kind] = (alike, name)
    names = [name for _, name in found.values()]
    return sorted(names, key=lambda name: parse_name(name)[2] is not Precision.FP32)


def kind_of(name: str) -> Kind:
    """The engine and the precision of a primitive, by its name."""
    engine, _, precision = parse_name(name)
    return engine, precision
