"""The baseline without a search: one primitive for all layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qsdnn.agents.base import Agent, Episode, Policy, require_episodes
from qsdnn.agents.experience import Experience
from qsdnn.cost.model import CostModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform(Agent):
    """Takes each primitive for all layers in turn, and keeps the best plan.

    A layer that may not take that primitive takes the fastest of its domain, else the fastest of
    all.
    """

    name = "uniform"

    def learn(
        self,
        cost: CostModel,
        *,
        episodes: int,
        seed: int = 0,
        on_episode: Callable[[Episode], None] | None = None,
    ) -> Policy:
        """Looks at one such plan an episode, as far as there are episodes; nothing in it is random.

        Raises:
            ValueError: Fewer than 1 episode.
        """
        require_episodes(episodes)
        space = cost.space
        layer_ms = np.where(space.mask, cost.layer_ms, np.inf)
        plans = []
        for primitive, domain in enumerate(space.domain_of):
            at_home = np.where(space.domain_of == domain, layer_ms, np.inf)
            fall_back = np.where(
                np.isfinite(at_home).any(axis=1), at_home.argmin(axis=1), layer_ms.argmin(axis=1)
            )
            plans.append(np.where(space.mask[:, primitive], primitive, fall_back))
        distinct = np.array(list({plan.tobytes(): plan for plan in plans}.values()))[:episodes]
        experience = Experience(on_episode)
        experience.see(distinct, np.array([cost.predict(plan) for plan in distinct]))
        return experience.policy()
