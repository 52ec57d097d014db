"""Q-learning with experience replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from qsdnn.agents.base import Agent, Episode, Policy
from qsdnn.agents.experience import Batch, Experience, Known, make_env, random_actions, walk
from qsdnn.agents.q_learning.presets import PRESETS, Settings, TensorCredit
from qsdnn.agents.q_learning.q_table import StepValues
from qsdnn.agents.q_learning.tensor_values import TensorValues
from qsdnn.cost.model import CostModel
from qsdnn.space import Space

BATCHES = 30
"""The least number of batches of a run: a short run has smaller ones. On the tuning set, 100
episodes in batches of 4 left a third of the gap that batches of 16 did."""


class Values(Protocol):
    """A learner of what each action is worth in each state."""

    def begin(self) -> None:
        """Begins a run; the rewards of an earlier run came from another cost model."""
        ...

    def see(self, step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]) -> None:
        """Takes in the observations of the episodes that are under way."""
        ...

    def values(self, step: int, mask: NDArray[np.int8]) -> NDArray[np.floating[Any]]:
        """The worth of each action where the episodes are (n, actions)."""
        ...

    def learn(self, batch: Batch, rng: np.random.Generator) -> None:
        """Learns from the episodes of a batch, which have ended, and from some earlier ones."""
        ...


class QLearning(Agent):
    """Learns what each action is worth in each state, from episodes and their replay.

    The agent acts ε-greedily and in batches of episodes, and learns after each batch. `Settings`
    says what can be set. The agent is given the space, which says how tensors join the layers, and
    sees observations, masks and rewards; it never looks at a cost.

    Called again for the same space, e.g. with a refitted cost model, the agent starts from the
    values it has, and first walks the best plans it knew.

    Args:
        settings: The settings of learning; None takes those of the preset ``default``.
    """

    name = "q-learning"
    presets = tuple(PRESETS)

    @classmethod
    def with_preset(cls, preset: str) -> Self:
        """A new agent with our own settings, or with published ones."""
        return cls(PRESETS[preset])

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or PRESETS["default"]
        self._space: Space | None = None
        self._values: Values | None = None
        self._known = Known()

    def learn(
        self,
        cost: CostModel,
        *,
        episodes: int,
        seed: int,
        on_episode: Callable[[Episode], None] | None = None,
    ) -> Policy:
        """Walks episodes on the environment of a cost model.

        Args:
            cost: The cost model; only the environment made of it is looked at.
            episodes: The number of episodes, at least 1.
            seed: The seed of every random number.
            on_episode: Called after each episode.

        Returns:
            The best plan met; never `Policy.proven`.

        Raises:
            ValueError: Fewer than 1 episode.
        """
        experience = Experience.begin(episodes, on_episode)
        settings = self._settings
        state = "frontier" if isinstance(settings.credit, TensorCredit) else settings.credit.state
        size = min(episodes, max(2, min(settings.batch, episodes // BATCHES)))
        env = make_env(cost, size, state=state, reward=settings.reward)
        values = self._values_for(cost.space)
        run = _Run(settings, values, env, experience, np.random.default_rng(seed))
        known = self._known.plans(cost.space)
        if len(known):
            run.repeat(known, keep=episodes)
        while experience.left:
            epsilon = settings.schedule.epsilon(experience.episodes, episodes)
            run.explore(epsilon, keep=experience.left)
        env.close()
        return self._known.remember(cost.space, experience.policy())

    def _values_for(self, space: Space) -> Values:
        """The values learned so far, or new ones where the values are for another space."""
        if self._values is None or self._space is None or not space.same_as(self._space):
            credit = self._settings.credit
            self._space = space
            self._values = (
                TensorValues(space, credit)
                if isinstance(credit, TensorCredit)
                else StepValues(len(space.primitives), credit)
            )
        self._values.begin()
        return self._values


class _Run:
    """One call of `QLearning.learn`: acts, and has values learned from what is seen."""

    def __init__(
        self,
        settings: Settings,
        values: Values,
        env: VectorEnv[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
        experience: Experience,
        rng: np.random.Generator,
    ) -> None:
        self._settings = settings
        self._values = values
        self._env = env
        self._experience = experience
        self._rng = rng

    def explore(self, epsilon: float, keep: int) -> None:
        """Walks a batch of episodes ε-greedily, and learns from it."""
        shared = share_epsilon(epsilon, self._env.num_envs, self._settings.spread)
        exploration = Exploration(shared, self._settings.linger, self._rng)

        def act(
            step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]
        ) -> NDArray[np.int64]:
            self._values.see(step, observations, mask)
            return exploration.override(self._greedy(step, mask), mask)

        batch = walk(self._env, act)
        self._experience.add(batch, shared, keep)
        self._values.learn(batch, self._rng)

    def repeat(self, plans: NDArray[np.int64], keep: int) -> None:
        """Walks the first of some plans, and learns from them."""
        chosen = plans[np.arange(self._env.num_envs) % len(plans)]

        def act(
            step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]
        ) -> NDArray[np.int64]:
            self._values.see(step, observations, mask)
            return np.asarray(chosen[:, step])

        batch = walk(self._env, act)
        self._experience.add(batch, np.zeros(self._env.num_envs), min(keep, len(plans)))
        self._values.learn(batch, self._rng)

    def _greedy(self, step: int, mask: NDArray[np.int8]) -> NDArray[np.int64]:
        """The best action of each episode by its value (n,); ties are broken at random."""
        q = np.where(mask != 0, self._values.values(step, mask), -np.inf)
        return random_actions(self._rng, q == q.max(axis=1, keepdims=True))


def share_epsilon(epsilon: float, episodes: int, spread: bool) -> NDArray[np.float64]:
    """The epsilon of each episode of a batch (episodes,): see `Settings.spread`."""
    if spread:
        return np.linspace(0.0, epsilon, episodes)
    return np.full(episodes, epsilon)


class Exploration:
    """ε-greedy for a batch of episodes, where an exploratory action may be repeated.

    Where a layer may not take the repeated action, the greedy one is taken.

    Args:
        epsilon: The probability of each episode (n,) to begin exploring, at each layer.
        linger: The exponent of the zeta distribution of the repeats; 0 for none.
        rng: The generator of every random number.
    """

    def __init__(
        self, epsilon: NDArray[np.float64], linger: float, rng: np.random.Generator
    ) -> None:
        self._epsilon = epsilon
        self._linger = linger
        self._rng = rng
        self._left = np.zeros(len(epsilon), dtype=np.int64)
        self._action = np.zeros(len(epsilon), dtype=np.int64)

    def override(self, greedy: NDArray[np.int64], mask: NDArray[np.int8]) -> NDArray[np.int64]:
        """The greedy actions (n,), replaced by exploratory ones in the episodes that explore."""
        n = len(greedy)
        begins = (self._left == 0) & (self._rng.random(n) < self._epsilon)
        self._action[begins] = random_actions(self._rng, mask)[begins]
        self._left[begins] = self._rng.zipf(self._linger, n)[begins] if self._linger else 1
        explores = (self._left > 0) & (mask[np.arange(n), self._action] != 0)
        self._left = np.maximum(self._left - 1, 0)
        return np.where(explores, self._action, greedy)
