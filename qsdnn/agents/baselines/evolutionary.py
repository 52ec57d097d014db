"""The baseline that breeds plans: an evolutionary algorithm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.base import Agent, Episode, Policy, require_episodes
from qsdnn.agents.baselines.moves import Moves
from qsdnn.agents.experience import Experience, Known
from qsdnn.cost.model import CostModel

POPULATION, CHILDREN = 4, 4
"""The plans that may have children, and the children of a generation: tuned as for annealing."""

CROSSED = 0.5
"""The share of the children that have two parents."""


class Evolutionary(Agent):
    """Crosses good plans with each other, changes runs of layers, and keeps the best.

    A child has a run of layers of one parent, and all others of another: in topological order a run
    is a convex piece of the network. The search begins at the greedy plan, the uniform plans, what
    the agent knew before and changes of these. Every plan is an episode. Of old and young plans the
    best live on, no two alike: a (μ + λ) strategy (Beyer, Schwefel: Natural Computing 1, 2002).

    Args:
        population: The number of plans that live on.
        children: The number of plans that are bred at a time.
    """

    name = "evolutionary"

    def __init__(self, population: int = POPULATION, children: int = CHILDREN) -> None:
        self._population = population
        self._children = children
        self._known = Known()

    def learn(
        self,
        cost: CostModel,
        *,
        episodes: int,
        seed: int,
        on_episode: Callable[[Episode], None] | None = None,
    ) -> Policy:
        """Breeds as many plans as episodes.

        Raises:
            ValueError: Fewer than 1 episode.
        """
        require_episodes(episodes)
        moves = Moves(cost=cost, rng=np.random.default_rng(seed))
        nursery = _Nursery(cost, moves, self._population, Experience(on_episode), episodes)
        nursery.add(np.concatenate([self._known.plans(cost.space), moves.starts()]))
        while nursery.left:
            nursery.add(np.array([nursery.child() for _ in range(self._children)]))
        policy = nursery.experience.policy()
        self._known.remember(cost.space, policy.candidates)
        return policy


class _Nursery:
    """One call of `Evolutionary.learn`: the plans alive, and all that were met."""

    def __init__(
        self,
        cost: CostModel,
        moves: Moves,
        population: int,
        experience: Experience,
        episodes: int,
    ) -> None:
        self.experience = experience
        self._cost = cost
        self._moves = moves
        self._population = population
        self._episodes = episodes
        self._plans = np.empty((0, len(cost.space.layers)), dtype=np.int64)
        self._latency_ms = np.empty(0)

    @property
    def left(self) -> int:
        """The number of episodes that are left."""
        return self._episodes - self.experience.episodes

    def add(self, plans: NDArray[np.int64]) -> None:
        """Looks at plans, as far as episodes are left, and lets the best of all live on."""
        plans = plans[: self.left]
        added_ms = np.array([self._cost.predict(plan) for plan in plans])
        self.experience.see(plans, added_ms)
        self._moves.meet(plans)
        alive = np.concatenate([self._plans, plans])
        latency_ms = np.concatenate([self._latency_ms, added_ms])
        alive, first = np.unique(alive, axis=0, return_index=True)
        best = np.argsort(latency_ms[first], kind="stable")[: self._population]
        self._plans, self._latency_ms = alive[best], latency_ms[first][best]

    def child(self) -> NDArray[np.int64]:
        """A plan that was not met before, unless such plans are hard to find."""
        rng, child = self._moves.rng, self._parent()
        if rng.random() < CROSSED:
            start, end = self._moves.intervals(len(child), 1)
            child[start[0] : end[0]] = self._parent()[start[0] : end[0]]
            if child.tobytes() not in self._moves.met and rng.random() < 0.5:
                return child
        return self._moves.run(child)

    def _parent(self) -> NDArray[np.int64]:
        """A copy of the better of two plans drawn at random; the plans are in order of latency."""
        return np.array(self._plans[self._moves.rng.integers(len(self._plans), size=2).min()])
