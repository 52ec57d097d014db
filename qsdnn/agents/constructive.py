"""The baselines that build plans and do not improve them: uniform, greedy, random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.base import Agent, Episode, Policy
from qsdnn.agents.experience import Experience, make_env, random_actions, walk
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
        experience = Experience.begin(episodes, on_episode)
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
        experience.see(distinct, np.array([cost.predict(plan) for plan in distinct]))
        return experience.policy()


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
        experience = Experience(on_episode)
        choice = np.where(cost.space.mask, cost.layer_ms, np.inf).argmin(axis=1)
        experience.see(choice[None, :], np.array([cost.predict(choice)]))
        return experience.policy()


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
        experience = Experience.begin(episodes, on_episode)
        rng = np.random.default_rng(seed)
        env = make_env(cost, BATCH, state="layer")

        def act(
            step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]
        ) -> NDArray[np.int64]:
            return random_actions(rng, mask)

        while experience.left:
            experience.add(walk(env, act), epsilon=np.ones(BATCH), keep=experience.left)
        env.close()
        return experience.policy()
