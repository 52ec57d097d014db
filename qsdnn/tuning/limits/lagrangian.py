"""Pricing: a limit on the noise of a plan becomes a price of noise; agents stay as they are.

The least latency under a limit on a sum over layers is a constrained shortest path. Its Lagrangian
relaxation charges every layer for its noise at one price; noise then is part of the layer's cost,
and any agent that minimises cost finds plans that keep the limit, if only the price is right
(Handler, Zang: A dual algorithm for the constrained shortest path problem, Networks 10, 1980). What
the relaxation cannot reach, plans between two corners of the convex hull, is found from its plans
by changing single layers.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from qsdnn.accuracy.noise import NoiseModel
from qsdnn.agents.exact.solver import Exact
from qsdnn.cost.model import CostModel
from qsdnn.cost.walk import Walk

CHEAP, DEAR, RAISE = 1e-3, 1e9, 8.0
"""The start of the search for a price, in median layer times for the noise allowed; the factor by
which the price may rise; and the factor of its steps."""

HALVINGS = 6
"""The number of steps in which the price is narrowed down after that."""

CHANGES = 60
"""The number of single layers changed, at the most."""


def priced(cost: CostModel, noise: NoiseModel, price: float) -> CostModel:
    """The cost model with the noise of each layer added at a price.

    Args:
        cost: The cost model: latency in ms of every plan.
        noise: The noise model of the same space.
        price: The price in ms of noise as large as the signal.
    """
    if price == 0.0:
        return cost
    extra = np.where(cost.space.mask, price * noise.power, 0.0)
    return dataclasses.replace(cost, layer_ms=cost.layer_ms + extra)


def price_of(cost: CostModel, noise: NoiseModel, limit: float) -> float:
    """The least price at which the cheapest plan keeps the limit, to within a few percent."""

    def keeps(price: float) -> bool:
        best = Exact(plans=1).learn(priced(cost, noise, price)).choice
        return bool(noise.predict(best)[0] <= limit)

    if keeps(0.0):
        return 0.0
    low = high = CHEAP * float(np.median(cost.layer_ms[cost.space.mask])) / limit
    while not keeps(high) and high < DEAR * low:
        high *= RAISE
    low = high / RAISE
    for _ in range(HALVINGS):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high


def within(
    cost: CostModel, noise: NoiseModel, limit: float, plan: NDArray[np.int64]
) -> NDArray[np.int64]:
    """A plan near another that keeps the limit, made as fast as changes of single layers allow.

    While the plan is above the limit, the layer is changed that saves most noise for its time;
    then, while some change saves time and stays below the limit, the one that saves most.

    Args:
        cost: The cost model: latency in ms of every plan.
        noise: The noise model of the same space.
        limit: The largest noise allowed.
        plan: The primitive index of each layer (layers,).
    """
    walk, plan = Walk(cost=cost), np.array(plan)
    for _ in range(CHANGES):
        now_ms, now = cost.predict(plan), float(noise.predict(plan)[0])
        near = _neighbours(cost, plan)
        slower_ms = walk.latency_ms(near) - now_ms
        less = now - noise.predict(near)
        if now > limit:
            gain = np.where(less > 0, less / np.maximum(slower_ms, 1e-6), -np.inf)
        else:
            gain = np.where(now - less <= limit, -slower_ms, -np.inf)
        best = int(gain.argmax())
        if gain[best] <= 1e-9:
            break
        plan = near[best]
    return plan


def _neighbours(cost: CostModel, plan: NDArray[np.int64]) -> NDArray[np.int64]:
    """The plans that differ in one layer (n, layers), all of them."""
    allowed = np.argwhere(cost.space.mask)
    allowed = allowed[plan[allowed[:, 0]] != allowed[:, 1]]
    near = np.tile(plan, (len(allowed), 1))
    near[np.arange(len(allowed)), allowed[:, 0]] = allowed[:, 1]
    return near
