"""The cost model: predicts the latency of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.space import Space


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """Latency as a sum over layers and over tensors that cross between domains.

    For a plan p with domains f(l) of its layers:

        Σ_l layer_ms[l, p(l)]
      + Σ_{t : some consumer has another domain} leave_ms[t, f(producer(t))]
      + Σ_{t, g : some consumer has domain g ≠ f(producer(t))} enter_ms[t, g]

    A tensor leaves its domain once, however many read it, and enters each other domain once.

    Attributes:
        space: The space it is for.
        layer_ms: (layers, primitives); infinite where the mask forbids.
        leave_ms: (edges, domains): cost of handing edge t out of a segment of that domain.
        enter_ms: (edges, domains): cost of taking edge t into a segment of that domain.
    """

    space: Space
    layer_ms: NDArray[np.float64] = field(repr=False)
    leave_ms: NDArray[np.float64] = field(repr=False)
    enter_ms: NDArray[np.float64] = field(repr=False)

    def predict(self, choice: Sequence[int] | NDArray[Any]) -> float:
        """Latency of a plan, in ms.

        Args:
            choice: (layers,) primitive index of each layer.
        """
        picked = np.asarray(choice)
        domains = self.space.domain_of[picked]
        total = float(self.layer_ms[np.arange(len(picked)), picked].sum())
        for t, edge in enumerate(self.space.edges):
            entered = {int(domains[c]) for c in edge.consumers} - {int(domains[edge.producer])}
            if entered:
                total += float(self.leave_ms[t, domains[edge.producer]])
                total += float(sum(self.enter_ms[t, g] for g in entered))
        return total
