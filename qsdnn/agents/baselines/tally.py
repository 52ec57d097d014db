"""The latency of a plan that changes a little at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsdnn.cost.model import CostModel


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
