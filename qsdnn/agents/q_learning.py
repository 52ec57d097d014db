"""Tabular Q-learning with experience replay."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from qsdnn.agents._base import Episode, Policy
from qsdnn.agents.experience import Act, Batch, Experience, make_env, walk
from qsdnn.agents.exploration import Exploration, random_actions, share_epsilon
from qsdnn.agents.presets import Guide, Settings, preset
from qsdnn.agents.q_table import QTable, States
from qsdnn.cost.model import CostModel
from qsdnn.space import Space


class QLearning:
    """Learns what each action is worth in each state, from episodes and their replay.

    It acts ε-greedily and in batches of episodes. After each batch it replays episodes backward,
    so that what is met late in an episode is learned in its early states at once. `Settings` says
    what can be set.

    Called again for the same space, e.g. with a refitted cost model, it starts from the values it
    has, and first walks the best plans it knew.

    Args:
        settings: How it learns; those of the preset ``default`` when None.
    """

    name = "q-learning"

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or preset("default")
        self._space: Space | None = None
        self._states = States(actions=1)
        self._tables: dict[Guide, QTable] = {}
        self._known: NDArray[np.int64] | None = None

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
            cost: Only the environment made of it is looked at.
            episodes: At least 1.
            seed: For all that is drawn.
            on_episode: Told of every episode.

        Returns:
            The best plan met; never `Policy.proven`.

        Raises:
            ValueError: Fewer than 1 episode.
        """
        began = time.perf_counter()
        if episodes < 1:
            raise ValueError(f"episodes must be at least 1, not {episodes}")
        if self._space is None or not _alike(self._space, cost.space):
            self._forget(cost.space)
        settings = self._settings
        size = min(settings.batch, episodes)
        env = make_env(cost, size, state=settings.state, reward=settings.reward)
        experience = Experience(on_episode)
        rng = np.random.default_rng(seed)
        run = _Run(settings, self._states, self._tables, env, experience, rng)
        if self._known is not None:
            run.repeat(self._known, keep=episodes)
        while experience.episodes < episodes:
            epsilon = settings.schedule.epsilon(experience.episodes, episodes)
            run.explore(epsilon, keep=episodes - experience.episodes)
        env.close()
        policy = experience.policy(time.perf_counter() - began)
        self._known = policy.candidates
        return policy

    def _forget(self, space: Space) -> None:
        self._space = space
        self._states = States(actions=len(space.primitives))
        self._tables = {
            guide: QTable(self._states, guide)
            for guide in dict.fromkeys(self._settings.guides)
            if guide is not Guide.PLAN
        }
        self._known = None


def _alike(space: Space, other: Space) -> bool:
    """Whether the values learned for one space mean something for the other."""
    return space is other or (
        (space.layers, space.primitives, space.edges)
        == (other.layers, other.primitives, other.edges)
        and np.array_equal(space.mask, other.mask)
    )


@dataclass(slots=True)
class _Transitions:
    """What happened in each episode: (episodes, steps) arrays."""

    rows: NDArray[np.intp]
    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]

    def extended(self, other: _Transitions) -> _Transitions:
        return _Transitions(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.actions, other.actions]),
            np.concatenate([self.rewards, other.rewards]),
        )


class _Run:
    """One call of `QLearning.learn`: acts, and replays what it has seen itself.

    What an earlier call has seen is not replayed: its rewards were another cost model's.
    """

    def __init__(
        self,
        settings: Settings,
        states: States,
        tables: dict[Guide, QTable],
        env: VectorEnv[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
        experience: Experience,
        rng: np.random.Generator,
    ) -> None:
        self._settings = settings
        self._states = states
        self._tables = tables
        self._env = env
        self._experience = experience
        self._rng = rng
        self._seen: _Transitions | None = None

    def explore(self, epsilon: float, keep: int) -> None:
        """Walks a batch ε-greedily, and learns."""
        shared = share_epsilon(epsilon, self._env.num_envs, self._settings.spread)
        exploration = Exploration(shared, self._settings.linger, self._rng)
        rows: list[NDArray[np.intp]] = []

        def act(
            step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]
        ) -> NDArray[np.int64]:
            rows.append(self._states.rows(step, observations, mask))
            return exploration.override(self._greedy(step, rows[-1], mask), mask)

        self._walk(act, rows, shared, keep)

    def repeat(self, plans: NDArray[np.int64], keep: int) -> None:
        """Walks the first of some plans, and learns."""
        chosen = plans[np.arange(self._env.num_envs) % len(plans)]
        rows: list[NDArray[np.intp]] = []

        def act(
            step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]
        ) -> NDArray[np.int64]:
            rows.append(self._states.rows(step, observations, mask))
            return np.asarray(chosen[:, step])

        self._walk(act, rows, np.zeros(self._env.num_envs), min(keep, len(plans)))

    def _walk(
        self, act: Act, rows: list[NDArray[np.intp]], epsilon: NDArray[np.float64], keep: int
    ) -> None:
        batch = walk(self._env, act)
        self._experience.add(batch, epsilon, keep)
        self._learn(np.stack(rows, axis=1), batch)

    def _greedy(
        self, step: int, rows: NDArray[np.intp], mask: NDArray[np.int8]
    ) -> NDArray[np.int64]:
        """(n,) what each episode's guide says; ties are broken at random."""
        guides = self._settings.guides
        q = np.zeros(mask.shape)
        for i, guide in enumerate(guides):
            mine = slice(i, None, len(guides))
            if guide is not Guide.PLAN:
                q[mine] = self._tables[guide].values(step, rows[mine])
            elif self._experience.best is not None:
                q[mine, self._experience.best[step]] = 1.0
        q[mask == 0] = -np.inf
        ties = (q == q.max(axis=1, keepdims=True)) & (mask != 0)
        return random_actions(self._rng, ties.astype(np.int8))

    def _learn(self, rows: NDArray[np.intp], batch: Batch) -> None:
        """Adds a batch to what has been seen, and replays."""
        new = _Transitions(rows, batch.actions, batch.rewards)
        self._seen = new if self._seen is None else self._seen.extended(new)
        total = len(self._seen.rows)
        if not self._settings.replay:
            self._replay(self._seen)
            return
        for episode in range(total - len(rows), total):
            drawn = self._rng.choice(total, min(self._settings.replay, total), replace=False)
            some = np.append(drawn, episode)
            self._replay(
                _Transitions(
                    self._seen.rows[some], self._seen.actions[some], self._seen.rewards[some]
                )
            )

    def _replay(self, episodes: _Transitions) -> None:
        """Learns from episodes again, from their ends to their beginnings."""
        steps = episodes.rows.shape[1]
        for table in self._tables.values():
            later = np.zeros(len(episodes.rows), dtype=np.float32)
            for step in range(steps - 1, -1, -1):
                rows, actions = episodes.rows[:, step], episodes.actions[:, step]
                target = episodes.rewards[:, step] + self._settings.gamma * later
                table.update(step, rows, actions, target, self._settings.alpha)
                later = table.best(step)[rows]
