"""The baselines that improve plans: simulated annealing, and an evolutionary algorithm."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.base import Agent, Episode, Policy
from qsdnn.agents.experience import Experience, Known
from qsdnn.agents.local_search import Moves, Tally
from qsdnn.cost.model import CostModel
from qsdnn.space import Space


class _Run:
    """One call of `learn`: its moves, the plans it begins with, and all that it looks at.

    Args:
        cost: The cost model.
        known: The plans that the agent knew before.
        episodes: The number of plans to look at.
        seed: The seed of every random number.
        on_episode: Called after each episode.
    """

    def __init__(
        self,
        cost: CostModel,
        known: Known,
        episodes: int,
        seed: int,
        on_episode: Callable[[Episode], None] | None,
    ) -> None:
        self.experience = Experience.begin(episodes, on_episode)
        self.moves = Moves(cost=cost, rng=np.random.default_rng(seed))
        self.starts = np.concatenate([known.plans(cost.space), self.moves.starts()])
        self._cost = cost

    def look(self, plans: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Looks at plans as far as episodes are left; returns these, and their latency in ms."""
        plans = plans[: self.experience.left]
        latency_ms = np.array([self._cost.predict(plan) for plan in plans])
        self.see(plans, latency_ms)
        return plans, latency_ms

    def see(self, plans: NDArray[np.int64], latency_ms: NDArray[np.float64]) -> None:
        """Remembers plans whose latency is known."""
        self.experience.see(plans, latency_ms)
        self.moves.meet(plans)


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
        run = _Run(cost, self._known, episodes, seed, on_episode)
        rng = run.moves.rng
        starts, latency_ms = run.look(run.starts)
        best, best_ms = starts[latency_ms.argmin()], latency_ms.min()
        scale_ms = abs(best_ms) / len(cost.space.layers) or 1.0
        for temperatures in self._cycles(cost.space, run.experience.left):
            tally = Tally(cost, best)
            for temperature in temperatures:
                look = tally.look(run.moves.run(tally.plan))
                run.see(look.plan[None, :], np.array([look.latency_ms]))
                if look.latency_ms < best_ms:
                    best, best_ms = look.plan, look.latency_ms
                worse_ms = look.latency_ms - tally.latency_ms
                if worse_ms <= 0 or rng.random() < math.exp(-worse_ms / temperature / scale_ms):
                    tally.take(look)
        return self._known.remember(cost.space, run.experience.policy())

    def _cycles(self, space: Space, steps: int) -> list[NDArray[np.float64]]:
        """The temperatures of each cycle."""
        whole = CYCLE * len(space.layers) * len(space.domains)
        cycles = np.array_split(np.arange(steps), max(1, round(steps / whole)))
        return [np.geomspace(self._hot, self._cold, len(cycle)) for cycle in cycles]


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
        run = _Run(cost, self._known, episodes, seed, on_episode)
        nursery = _Nursery(run, self._population)
        nursery.add(run.starts)
        while run.experience.left:
            nursery.add(np.array([nursery.child() for _ in range(self._children)]))
        return self._known.remember(cost.space, run.experience.policy())


class _Nursery:
    """The plans of one call of `Evolutionary.learn` that are alive."""

    def __init__(self, run: _Run, population: int) -> None:
        self._run = run
        self._moves = run.moves
        self._population = population
        self._plans = run.starts[:0]
        self._latency_ms = np.empty(0)

    def add(self, plans: NDArray[np.int64]) -> None:
        """Looks at plans, as far as episodes are left, and lets the best of all live on."""
        plans, added_ms = self._run.look(plans)
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
