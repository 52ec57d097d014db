"""The baseline that walks from plan to plan: simulated annealing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.base import Agent, Episode, Policy, require_episodes
from qsdnn.agents.baselines.moves import Moves
from qsdnn.agents.baselines.tally import Tally
from qsdnn.agents.experience import Experience, Known
from qsdnn.cost.model import CostModel
from qsdnn.space import Space

HOT, COLD = 0.3, 0.003
"""The first and the last temperature of a cycle, in mean layer latencies."""

CYCLE = 2
"""The number of episodes of a cycle, for each layer and domain."""


class Annealing(Agent):
    """Changes a run of layers at a time, and takes what is slower now and then, ever more seldom.

    It begins at the best of the greedy plan, the uniform plans and what the agent knew before, and
    as often as a small network allows it begins again at the best plan so far. Every plan it looks
    at counts as an episode (Kirkpatrick, Gelatt, Vecchi: Science 220, 1983). The defaults were
    tuned on `qsdnn_envs.synthetic.TUNING` and the cost models of networks.

    Args:
        hot: The first temperature of a cycle, in mean layer latencies of the first plan.
        cold: The last temperature of a cycle, in the same unit.
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
        require_episodes(episodes)
        rng = np.random.default_rng(seed)
        experience = Experience(on_episode)
        moves = Moves(cost=cost, rng=rng)
        starts = np.concatenate([self._known.plans(cost.space), moves.starts()])[:episodes]
        latency_ms = np.array([cost.predict(plan) for plan in starts])
        experience.see(starts, latency_ms)
        moves.meet(starts)
        best, best_ms = starts[latency_ms.argmin()], latency_ms.min()
        scale_ms = abs(best_ms) / len(cost.space.layers) or 1.0
        for temperatures in self._cycles(cost.space, episodes - len(starts)):
            tally = Tally(cost, best)
            for temperature in temperatures:
                look = tally.look(moves.run(tally.plan))
                experience.see(look.plan[None, :], np.array([look.latency_ms]))
                moves.meet(look.plan[None, :])
                if look.latency_ms < best_ms:
                    best, best_ms = look.plan, look.latency_ms
                worse_ms = look.latency_ms - tally.latency_ms
                if worse_ms <= 0 or rng.random() < math.exp(-worse_ms / temperature / scale_ms):
                    tally.take(look)
        policy = experience.policy()
        self._known.remember(cost.space, policy.candidates)
        return policy

    def _cycles(self, space: Space, steps: int) -> list[NDArray[np.float64]]:
        """The temperatures of each cycle."""
        whole = CYCLE * len(space.layers) * len(space.domains)
        cycles = np.array_split(np.arange(steps), max(1, round(steps / whole)))
        return [np.geomspace(self._hot, self._cold, len(cycle)) for cycle in cycles]
