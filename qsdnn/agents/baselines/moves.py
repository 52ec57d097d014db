"""Plans that differ in a run of layers: what local search is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.cost.model import CostModel

DRAWN = 8
"""The number of runs that are drawn for a change, of which one is taken."""

TRIES = 8
"""The number of changes that are drawn until one gives a plan not met before."""


@dataclass(frozen=True, kw_only=True)
class Moves:
    """Draws changes of plans.

    A run of consecutive layers goes to one domain, each layer to its cheapest primitive there; a
    layer that has none stays as it is. Good plans are made of such runs, as a crossing costs more
    than most layers gain.

    Attributes:
        cost: The cost model; only the layers' own costs in it are looked at.
        rng: The generator of every random number.
        met: The plans that have been looked at, as bytes; they are avoided.
    """

    cost: CostModel
    rng: np.random.Generator
    met: set[bytes] = field(default_factory=set)

    def meet(self, plans: NDArray[np.int64]) -> None:
        """Takes note of plans that have been looked at."""
        self.met.update(plan.tobytes() for plan in plans)

    @cached_property
    def cheapest(self) -> NDArray[np.int64]:
        """The cheapest primitive of each layer in each domain (layers, domains); −1 for none."""
        space = self.cost.space
        cost_ms = np.where(space.mask, self.cost.layer_ms, np.inf)
        best = np.full((len(space.layers), len(space.domains)), -1)
        for domain in range(len(space.domains)):
            mine = np.flatnonzero(space.domain_of == domain)
            some = space.mask[:, mine].any(axis=1)
            best[some, domain] = mine[cost_ms[:, mine].argmin(axis=1)][some]
        return best

    def starts(self) -> NDArray[np.int64]:
        """The first plans (n, layers): each layer's fastest primitive, then each domain alone."""
        greedy = np.where(self.cost.space.mask, self.cost.layer_ms, np.inf).argmin(axis=1)
        return np.array([greedy, *np.where(self.cheapest >= 0, self.cheapest, greedy[:, None]).T])

    @cached_property
    def _cheapest_ms(self) -> NDArray[np.float64]:
        """The cost in ms of `cheapest` (layers, domains); infinite where there is none."""
        layers = np.arange(len(self.cheapest))[:, None]
        return np.where(self.cheapest >= 0, self.cost.layer_ms[layers, self.cheapest], np.inf)

    def run(self, plan: NDArray[np.int64]) -> NDArray[np.int64]:
        """A plan with a run of layers changed; with one layer where no run gives a new plan.

        Of some runs that are drawn, the one is taken in which the layers gain the most, crossings
        aside.
        """
        layers = np.arange(len(plan))
        differs = (self.cheapest >= 0) & (self.cheapest != plan[:, None])
        now_ms = self.cost.layer_ms[layers, plan]
        gain_ms = _summed(np.where(differs, now_ms[:, None] - self._cheapest_ms, 0.0))
        changes = _summed(differs)
        for _ in range(TRIES):
            start, end, domain = self._draw(plan)
            some = changes[end, domain] > changes[start, domain]
            gains_ms = np.where(some, gain_ms[end, domain] - gain_ms[start, domain], -np.inf)
            best = int(gains_ms.argmax())
            if not some[best]:
                continue
            here = (layers >= start[best]) & (layers < end[best]) & differs[:, domain[best]]
            changed = np.where(here, self.cheapest[:, domain[best]], plan)
            if changed.tobytes() not in self.met:
                return changed
        return self._single(plan)

    def intervals(self, layers: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first layers of runs and the layers after their last (count,), log-uniformly long."""
        length = np.exp(self.rng.random(count) * np.log(layers + 1)).astype(np.int64)
        start = self.rng.integers(1 - length, layers)
        return np.maximum(start, 0), np.minimum(start + length, layers)

    def _draw(self, plan: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """The starts, ends and new domains of runs (runs,); half of the domains are neighbours'."""
        space = self.cost.space
        start, end = self.intervals(len(plan), DRAWN)
        beside = np.where(self.rng.random(DRAWN) < 0.5, start - 1, end)
        joins = (self.rng.random(DRAWN) < 0.5) & (beside >= 0) & (beside < len(plan))
        joined = space.domain_of[plan[np.clip(beside, 0, len(plan) - 1)]]
        domain = np.where(joins, joined, self.rng.integers(len(space.domains), size=DRAWN))
        return start, end, domain

    def _single(self, plan: NDArray[np.int64]) -> NDArray[np.int64]:
        layer = self.rng.integers(len(plan))
        changed = plan.copy()
        changed[layer] = self.rng.choice(np.flatnonzero(self.cost.space.mask[layer]))
        return changed


def _summed(table: NDArray[Any]) -> NDArray[Any]:
    """The sums (rows + 1, columns) of the rows before each row, so that runs are differences."""
    return np.concatenate([np.zeros_like(table[:1], dtype=float), np.cumsum(table, axis=0)])
