"""Tabular Q-learning with experience replay."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import numpy as np
from numpy.typing import NDArray

from qsdnn.agents._base import Episode, Policy
from qsdnn.agents.experience import Batch, Experience, make_env, random_actions, walk
from qsdnn.agents.presets import Settings, preset
from qsdnn.agents.q_table import QTable, States
from qsdnn.cost.model import CostModel
from qsdnn.space import Space


PLANFILL = False


class QLearning:
    """Learns what each action is worth in each state, from episodes and their replay.

    It acts ε-greedily; an exploratory action may be repeated over several layers. After each
    batch of episodes it replays episodes backward, so that what happens late in an episode is
    learned in its early states at once. See `Settings` for what is to be set, and the presets.

    Called again for the same space, e.g. with a refitted cost model, it keeps its values as the
    ones to start from, and walks the best plans that it knew once more.

    Args:
        settings: How it learns; the preset ``default`` when None.
    """

    name = "q-learning"

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or preset("default")
        self._space: Space | None = None
        self._states = States(1)
        self._tables: list[QTable] = []
        self._known_plans: NDArray[np.int64] | None = None

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
            cost: Only its environment is looked at.
            episodes: At least 1.
            seed: For all that is drawn.
            on_episode: Told of every episode.

        Returns:
            The best plan met, never `proven`.
        """
        began = time.perf_counter()
        if episodes < 1:
            raise ValueError(f"{episodes} episodes are too few: at least 1 is needed")
        if self._space is None or not _alike(self._space, cost.space):
            self._forget(cost.space)
        run = _Run(
            self._settings,
            self._states,
            self._tables,
            np.random.default_rng(seed),
            cost.space.family_of,
        )
        experience = Experience(on_episode)
        size = min(self._settings.batch, episodes)
        env = make_env(cost, size, state=self._settings.state, reward=self._settings.reward)
        if self._known_plans is not None:
            run.repeat(env, self._known_plans, experience, keep=episodes)
        while experience.episodes < episodes:
            number = experience.episodes
            epsilon = self._settings.schedule.epsilon(number, episodes)
            run.explore(env, self._settings.share(epsilon, size), experience, episodes - number)
        env.close()
        policy = experience.policy(time.perf_counter() - began)
        self._known_plans = policy.candidates
        return policy

    def _forget(self, space: Space) -> None:
        self._space = space
        self._states = States(len(space.primitives))
        # A kind may be named several times: its episodes share one table.
        kinds = dict.fromkeys(self._settings.untried)
        self._tables = [QTable(self._states, untried) for untried in kinds if untried != "plan"]
        self._known_plans = None


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


class _Run:
    """One call of `QLearning.learn`: acting, and replaying what this call has seen."""

    def __init__(
        self,
        settings: Settings,
        states: States,
        tables: list[QTable],
        rng: np.random.Generator,
        family_of,
    ) -> None:
        self._settings = settings
        self._states = states
        self._tables = tables
        self._rng = rng
        self._seen: _Transitions | None = None
        self._best = None
        self._best_ms = np.inf
        self._most = []
        self._fresh = []
        self._family_of = family_of

    def explore(
        self,
        env: gymnasium.vector.VectorEnv,
        epsilon: NDArray[np.float64],
        experience: Experience,
        keep: int,
    ) -> None:
        """Walks a batch ε-greedily and learns from it."""
        rows: list[NDArray[np.intp]] = []
        explorer = _Linger(env.num_envs, self._family_of, self._settings.linger, self._rng)

        def act(
            step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]
        ) -> NDArray[np.int64]:
            rows.append(self._states.rows(step, observations, mask))
            if step == len(self._most):
                self._most.append(np.zeros(mask.shape[1]))
                self._fresh.append(np.ones(mask.shape[1], bool))
            return explorer.override(
                self._greedy(step, rows[-1], mask), mask, epsilon, self._most[step]
            )

        batch = walk(env, act)
        experience.add(batch, epsilon, keep)
        self._learn(np.stack(rows, axis=1), batch)

    def repeat(
        self,
        env: gymnasium.vector.VectorEnv,
        plans: NDArray[np.int64],
        experience: Experience,
        keep: int,
    ) -> None:
        """Walks the first of some plans and learns from them."""
        rows: list[NDArray[np.intp]] = []
        chosen = plans[np.arange(env.num_envs) % len(plans)]

        def act(
            step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]
        ) -> NDArray[np.int64]:
            rows.append(self._states.rows(step, observations, mask))
            return np.asarray(chosen[:, step])

        batch = walk(env, act)
        experience.add(batch, np.zeros(env.num_envs), min(keep, len(plans)))
        self._learn(np.stack(rows, axis=1), batch)

    def _greedy(
        self, step: int, rows: NDArray[np.intp], mask: NDArray[np.int8]
    ) -> NDArray[np.int64]:
        """(n,) the best action by each episode's table; ties are broken at random."""
        q = np.empty(mask.shape, dtype=np.float32)
        kinds = self._settings.untried
        for table in self._tables:
            mine = [i for i in range(len(rows)) if kinds[i % len(kinds)] is table.untried]
            v = table.values(step, rows[mine])
            if PLANFILL and table.untried == "never" and self._best is not None:
                un = np.isneginf(table._table(step)[rows[mine]]).all(axis=1)
                v = v.copy()
                v[un, self._best[step]] = 1e9
            q[mine] = v
        if self._best is not None:
            mine = [i for i in range(len(rows)) if kinds[i % len(kinds)] == "plan"]
            q[mine] = 0
            q[mine, self._best[step]] = 1
        else:
            mine = [i for i in range(len(rows)) if kinds[i % len(kinds)] == "plan"]
            q[mine] = 0
        q[mask == 0] = -np.inf
        ties = (q == q.max(axis=1, keepdims=True)) & (mask != 0)
        return random_actions(self._rng, ties.astype(np.int8))

    def _learn(self, rows: NDArray[np.intp], batch: Batch) -> None:
        """Adds a batch to what has been seen, and replays."""
        new = _Transitions(rows, batch.actions, batch.rewards)
        if self._seen is not None:
            new = _Transitions(
                np.concatenate([self._seen.rows, new.rows]),
                np.concatenate([self._seen.actions, new.actions]),
                np.concatenate([self._seen.rewards, new.rewards]),
            )
        self._seen = new
        i = int(batch.latency_ms.argmin())
        if batch.latency_ms[i] < self._best_ms:
            self._best_ms = batch.latency_ms[i]
            self._best = batch.actions[i].copy()
        for step, most in enumerate(self._most):
            got = np.full(len(most), -np.inf)
            np.maximum.at(got, batch.actions[:, step], batch.rewards[:, step])
            fresh = self._fresh[step] & np.isfinite(got)
            most[fresh] = got[fresh]
            self._fresh[step][fresh] = False
            np.maximum(most, got, out=most, where=np.isfinite(got))
        total = len(new.rows)
        if not self._settings.replay:
            self._replay(np.arange(total))
            return
        for episode in range(total - len(rows), total):
            drawn = self._rng.choice(total, min(self._settings.replay, total), replace=False)
            self._replay(np.append(drawn, episode))

    def _replay(self, episodes: NDArray[np.intp]) -> None:
        """Learns from some of the episodes again, from their ends to their beginnings."""
        assert self._seen is not None
        rows = self._seen.rows[episodes]
        actions, rewards = self._seen.actions[episodes], self._seen.rewards[episodes]
        for table in self._tables:
            later = np.zeros(len(episodes))
            for step in range(rows.shape[1] - 1, -1, -1):
                at = rows[:, step]
                target = rewards[:, step] + self._settings.gamma * later
                table.update(step, at, actions[:, step], target, self._settings.alpha)
                later = table.best(step)[at]


class _Linger:
    """Exploratory choices that keep to one family over several layers.

    Args:
        n: Number of episodes.
        family_of: (actions,) index of each action's family.
        exponent: Of the zeta distribution of the lengths.
        rng: What draws.
    """

    def __init__(
        self, n: int, family_of: NDArray[np.int64], exponent: float, rng: np.random.Generator
    ) -> None:
        self._exponent = exponent
        self._family_of = family_of
        self._rng = rng
        self._left = np.zeros(n, dtype=np.int64)
        self._family = np.zeros(n, dtype=np.int64)

    def override(
        self,
        greedy: NDArray[np.int64],
        mask: NDArray[np.int8],
        epsilon: NDArray[np.float64],
        most: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """(n,) the greedy actions, or the exploratory ones where there is one permitted.

        Args:
            greedy: (n,) actions.
            mask: (n, actions).
            epsilon: (n,) probability of beginning to explore.
            most: (actions,) the largest reward each action ever brought at this step: within a
                family the actions differ by the same everywhere, so this orders them.
        """
        n = len(greedy)
        starts = (self._left == 0) & (self._rng.random(n) < epsilon)
        drawn = self._family_of[random_actions(self._rng, mask)]
        self._family = np.where(starts, drawn, self._family)
        self._left = np.where(starts, self._rng.zipf(self._exponent, n), self._left)
        kin = (self._family_of == self._family[:, None]) & (mask != 0)
        value = np.where(kin, most, -np.inf)
        ties = kin & (value == value.max(axis=1, keepdims=True))
        explores = (self._left > 0) & kin.any(axis=1)
        self._left = np.maximum(self._left - 1, 0)
        return np.where(explores, random_actions(self._rng, ties.astype(np.int8)), greedy)
