"""The baseline that walks from plan to plan: simulated annealing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from qsdnn.agents._base import Episode, Policy, require_episodes
from qsdnn.agents.experience import Experience
from qsdnn.agents.moves import Moves
from qsdnn.agents.tally import Tally
from qsdnn.agents.warm import Known
from qsdnn.cost.model import CostModel

HOT, COLD = 0.03, 0.003
"""First and last temperature, in mean layer latencies. Tuned: see experiments/agents.py."""


class Annealing:
    """Changes a run of layers at a time, and takes what is slower now and then, ever more seldom.

    It begins at the best of the greedy plan, the uniform plans and what it knew before. Every plan
    it looks at counts as an episode (Kirkpatrick, Gelatt, Vecchi: Science 220, 1983).

    Args:
        hot: First temperature, in mean layer latencies of the plan that it begins at.
        cold: Last temperature.
    """

    name = "annealing"

    def __init__(self, hot: float = HOT, cold: float = COLD) -> None:
        self._hot = hot
        self._cold = cold
        self._known = Known()

    def learn(
        self,
        cost: CostModel,
        *,
        episodes: int,
        seed: int,
        on_episode: Callable[[Episode], None] | None = None,
    ) -> Policy:
        """Looks at as many plans as episodes.

        Raises:
            ValueError: Fewer than 1 episode.
        """
        began = time.perf_counter()
        require_episodes(episodes)
        rng = np.random.default_rng(seed)
        experience = Experience(on_episode)
        moves = Moves(cost=cost, rng=rng)
        starts = np.concatenate([self._known.plans(cost.space), moves.starts()])[:episodes]
        latency_ms = np.array([cost.predict(plan) for plan in starts])
        experience.see(starts, latency_ms)
        moves.meet(starts)
        tally = Tally(cost, starts[latency_ms.argmin()])
        scale_ms = abs(tally.latency_ms) / len(cost.space.layers) or 1.0
        for temperature in self._temperatures(episodes - len(starts)):
            look = tally.look(moves.run(tally.plan))
            experience.see(look.plan[None, :], np.array([look.latency_ms]))
            moves.meet(look.plan[None, :])
            worse_ms = look.latency_ms - tally.latency_ms
            if worse_ms <= 0 or rng.random() < math.exp(-worse_ms / (temperature * scale_ms)):
                tally.take(look)
        policy = experience.policy(time.perf_counter() - began)
        self._known.remember(cost.space, policy.candidates)
        return policy

    def _temperatures(self, steps: int) -> Iterator[float]:
        for step in range(steps):
            yield self._hot * (self._cold / self._hot) ** (step / max(steps - 1, 1))
