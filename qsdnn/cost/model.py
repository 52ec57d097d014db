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

    For a plan p with labels F(l) of its layers, which are their domain and the layout that it has
    in common with other domains, if any (`Space.labels`):

        Σ_l layer_ms[l, p(l)]
      + Σ_{t, f ∈ F(producer(t)) : some consumer lacks f} leave_ms[t, f]
      + Σ_{t, g ∉ F(producer(t)) : some consumer has g} enter_ms[t, g]

    A tensor leaves its domain once, however many layers read it, and enters each other domain once.
    Where both domains have a layout in common the tensor is not converted, for it neither leaves
    nor enters that layout.

    Attributes:
        space: The search space that the costs are for.
        layer_ms: The latency of each layer in each primitive (layers, primitives); infinite where
            the mask forbids.
        leave_ms: The cost of handing edge t out of a segment of that domain, or of converting it
            from that layout (edges, labels).
        enter_ms: The cost of taking edge t into a segment of that domain, or of converting it to
            that layout (edges, labels).
    """

    space: Space
    layer_ms: NDArray[np.float64] = field(repr=False)
    leave_ms: NDArray[np.float64] = field(repr=False)
    enter_ms: NDArray[np.float64] = field(repr=False)

    def predict(self, choice: Sequence[int] | NDArray[Any]) -> float:
        """The latency of a plan, in ms.

        Args:
            choice: The primitive index of each layer (layers,).
        """
        picked = np.asarray(choice)
        domains = self.space.domain_of[picked].tolist()
        total = float(self.layer_ms[np.arange(len(picked)), picked].sum())
        for t, edge in enumerate(self.space.edges):
            home = domains[edge.producer]
            entered = {domains[c] for c in edge.consumers} - {home}
            if entered:
                left, met = [home], [*entered]
                for label, has in self.space.shared_layouts:
                    if home in has:
                        left += [] if entered <= has else [label]
                    else:
                        met += [] if entered.isdisjoint(has) else [label]
                total += float(self.leave_ms[t, left].sum() + self.enter_ms[t, met].sum())
        return total
