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
    """Latency as a sum over layers and over tensors that cross between families.

    For a plan p with families f(l) of its layers:

        Σ_l layer_ms[l, p(l)]
      + Σ_{t : some consumer has another family} leave_ms[t, f(producer(t))]
      + Σ_{t, g : some consumer has family g ≠ f(producer(t))} enter_ms[t, g]

    A tensor leaves its family once, however many read it, and enters each other family once.

    Attributes:
        space: The space it is for.
        layer_ms: (layers, primitives); infinite where the mask forbids.
        leave_ms: (edges, families): cost of handing edge t out of a segment of that family.
        enter_ms: (edges, families): cost of taking edge t into a segment of that family.
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
        families = self.space.family_of[picked]
        total = float(self.layer_ms[np.arange(len(picked)), picked].sum())
        for t, edge in enumerate(self.space.edges):
            entered = {int(families[c]) for c in edge.consumers} - {int(families[edge.producer])}
            if entered:
                total += float(self.leave_ms[t, families[edge.producer]])
                total += float(sum(self.enter_ms[t, g] for g in entered))
        return total
