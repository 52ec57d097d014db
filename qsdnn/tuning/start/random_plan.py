"""Random mixed plans, on which the boundary terms of the cost model are fitted and tested."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsdnn.space import Space

HOPELESS = 4.0
"""The factor of the layer's fastest time above which a primitive is left out of random plans: it
would drown the boundaries that the plans are there to show."""


def mixed_plan(
    space: Space, layer_ms: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """A random plan of 2 to 13 runs of one domain each, fewer in small networks.

    Args:
        space: The search space: the layers and what each may run as.
        layer_ms: The first estimates of times (layers, primitives); not finite where unknown.
        rng: The generator of every random number.

    Returns:
        The primitive indices of the plan (layers,).
    """
    count = len(space.layers)
    known = np.where(space.mask & np.isfinite(layer_ms), layer_ms, np.inf)
    usable = space.mask & (known <= HOPELESS * known.min(axis=1, keepdims=True))
    runs = int(rng.integers(2, min(13, 2 + count // 6) + 1))
    cuts = set(rng.choice(np.arange(1, count), size=min(runs, count) - 1, replace=False).tolist())
    plan = np.zeros(count, dtype=np.int64)
    domain = -1
    for index in range(count):
        options = np.flatnonzero(usable[index])
        domains = np.unique(space.domain_of[options])
        if index == 0 or index in cuts:
            others = domains[domains != domain]
            domain = int(rng.choice(others if len(others) else domains))
        inside = options[space.domain_of[options] == domain]
        plan[index] = rng.choice(inside if len(inside) else options)
    return plan
