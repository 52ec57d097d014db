"""Local search: plans that differ in a run of layers, and their latency, told little by little."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Another plan, compared to the plan of a `Tally`.

    Attributes:
        plan: The primitive index of each layer (layers,).
        latency_ms: The predicted latency of that plan.
        domain: The new domain of each layer whose domain changes, by layer index.
        edge_ms: The new crossing cost in ms of each tensor whose ends change, by index in
            `Space.edges`.
    """

    plan: NDArray[np.int64]
    latency_ms: float
    domain: dict[int, int]
    edge_ms: dict[int, float]


class Tally:
    """A plan and its latency, kept by layers and tensors.

    To look at another plan takes time only for the layers that differ and the tensors they touch.

    Args:
        cost: The cost model.
        plan: The primitive indices (layers,) to begin with.

    Attributes:
        plan: The primitive index of each layer (layers,).
        latency_ms: The predicted latency of that plan, exact but for the rounding of sums.
    """

    def __init__(self, cost: CostModel, plan: NDArray[np.int64]) -> None:
        self._layer_ms = cost.layer_ms
        self._enter_ms: list[list[float]] = cost.enter_ms.tolist()
        self._leave_ms: list[list[float]] = cost.leave_ms.tolist()
        self._domain_of: list[int] = cost.space.domain_of.tolist()
        self._layouts = cost.space.shared_layouts
        self._ends = [(edge.producer, tuple(set(edge.consumers))) for edge in cost.space.edges]
        self._touches: list[list[int]] = [[] for _ in cost.space.layers]
        for t, (producer, consumers) in enumerate(self._ends):
            for layer in (producer, *consumers):
                self._touches[layer].append(t)
        self._domain = [self._domain_of[primitive] for primitive in plan]
        self._edge_ms = [self._crossing(t) for t in range(len(self._ends))]
        self.plan = plan
        self.latency_ms = cost.predict(plan)

    def look(self, plan: NDArray[np.int64]) -> Look:
        """Compares another plan to the current one."""
        differ = np.flatnonzero(plan != self.plan)
        now, then = self._layer_ms[differ, plan[differ]], self._layer_ms[differ, self.plan[differ]]
        domain = {layer: self._domain_of[plan[layer]] for layer in differ.tolist()}
        domain = {layer: f for layer, f in domain.items() if f != self._domain[layer]}
        before = {layer: self._domain[layer] for layer in domain}
        self._put(domain)
        touched = {t for layer in domain for t in self._touches[layer]}
        edge_ms = {t: self._crossing(t) for t in touched}
        self._put(before)
        crossings_ms = sum(ms - self._edge_ms[t] for t, ms in edge_ms.items())
        latency_ms = self.latency_ms + float((now - then).sum()) + crossings_ms
        return Look(plan=plan, latency_ms=latency_ms, domain=domain, edge_ms=edge_ms)

    def take(self, look: Look) -> None:
        """Makes a plan the current one; it must have been looked at from the current one."""
        self._put(look.domain)
        for t, ms in look.edge_ms.items():
            self._edge_ms[t] = ms
        self.plan, self.latency_ms = look.plan, look.latency_ms

    def _put(self, domain: dict[int, int]) -> None:
        for layer, f in domain.items():
            self._domain[layer] = f

    def _crossing(self, t: int) -> float:
        producer, consumers = self._ends[t]
        home = self._domain[producer]
        entered = {self._domain[consumer] for consumer in consumers}
        entered.discard(home)
        if not entered:
            return 0.0
        ms = self._leave_ms[t][home] + sum(self._enter_ms[t][g] for g in entered)
        for label, has in self._layouts:
            if home in has:
                ms += 0.0 if entered <= has else self._leave_ms[t][label]
            else:
                ms += 0.0 if entered.isdisjoint(has) else self._enter_ms[t][label]
        return float(ms)
