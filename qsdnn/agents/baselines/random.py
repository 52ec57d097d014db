"""The baseline that learns nothing: plans drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.base import Agent, Episode, Policy, require_episodes
from qsdnn.agents.experience import Experience, make_env, walk
from qsdnn.agents.q_learning.exploration import random_actions
from qsdnn.cost.model import CostModel

BATCH = 64
"""The number of episodes walked at the same time; it changes nothing but the speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Random(Agent):
    """Chooses uniformly among what each layer may take, and keeps the best plans."""

    name = "random"

    def learn(
        self,
        cost: CostModel,
        *,
        episodes: int,
        seed: int,
        on_episode: Callable[[Episode], None] | None = None,
    ) -> Policy:
        """Draws as many plans as episodes.

        Raises:
            ValueError: Fewer than 1 episode.
        """
        require_episodes(episodes)
        rng = np.random.default_rng(seed)
        experience = Experience(on_episode)
        env = make_env(cost, BATCH, state="layer")

        def act(
            step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]
        ) -> NDArray[np.int64]:
            return random_actions(rng, mask)

        while experience.episodes < episodes:
            left = episodes - experience.episodes
            experience.add(walk(env, act), epsilon=np.ones(BATCH), keep=left)
        env.close()
        return experience.policy()
