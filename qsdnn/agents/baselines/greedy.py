"""The baseline that looks at one layer at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qsdnn.agents.base import Agent, Episode, Policy
from qsdnn.cost.model import CostModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Greedy(Agent):
    """Takes the fastest primitive of each layer, whatever the crossings cost."""

    name = "greedy"

    def learn(
        self,
        cost: CostModel,
        *,
        episodes: int = 1,
        seed: int = 0,
        on_episode: Callable[[Episode], None] | None = None,
    ) -> Policy:
        """Finds the plan of the fastest primitives; `episodes` and `seed` change nothing."""
        began = time.perf_counter()
        choice = np.where(cost.space.mask, cost.layer_ms, np.inf).argmin(axis=1).astype(np.int64)
        latency_ms = cost.predict(choice)
        if on_episode:
            on_episode(Episode(number=0, latency_ms=latency_ms, best_ms=latency_ms, epsilon=np.nan))
        return Policy(
            choice=choice,
            latency_ms=latency_ms,
            candidates=choice[None, :],
            episodes=1,
            steps=len(choice),
            seconds=time.perf_counter() - began,
        )
