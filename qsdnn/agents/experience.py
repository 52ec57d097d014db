"""Episodes: walking them in the environment, and remembering them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import gymnasium
import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.base import Episode, Policy
from qsdnn.cost.model import CostModel
from qsdnn.space import Space

KEPT = 8
"""The number of plans that are kept. Each is looked at again, which takes an episode."""


class Known:
    """The best plans of the last call, for the next one with the same space."""

    def __init__(self) -> None:
        self._space: Space | None = None
        self._plans: NDArray[np.int64] | None = None

    def remember(self, space: Space, policy: Policy) -> Policy:
        """Keeps the best candidates of a policy, and returns the policy."""
        self._space, self._plans = space, policy.candidates[:KEPT]
        return policy

    def plans(self, space: Space) -> NDArray[np.int64]:
        """The plans known of a space (n, layers), best first; none of another space."""
        if self._space is None or self._plans is None or not space.same_as(self._space):
            return np.empty((0, len(space.layers)), dtype=np.int64)
        return self._plans


ENV_ID = "qsdnn_envs:qsdnn/Deployment-v0"
CANDIDATES = 32
"""The number of plans that an agent puts up for measuring, at most."""

Act = Callable[[int, NDArray[np.int64], NDArray[np.int8]], NDArray[np.int64]]
"""A function of (step, observations, action masks) that returns the actions (n,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some episodes of equal length that were walked at the same time.

    Attributes:
        actions: The primitive index of each choice (n, steps).
        rewards: The reward of each choice (n, steps).
        latency_ms: The predicted latency of each episode's plan (n,).
    """

    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]
    latency_ms: NDArray[np.float64]


def make_env(cost: CostModel, episodes: int, **options: Any) -> gymnasium.vector.VectorEnv:
    """The environment of a cost model, for that many episodes at the same time."""
    return gymnasium.make_vec(ENV_ID, num_envs=episodes, cost=cost, **options)


def walk(env: gymnasium.vector.VectorEnv, act: Act) -> Batch:
    """Walks one episode in each place of a vector environment."""
    observations, info = env.reset()
    actions: list[NDArray[np.int64]] = []
    rewards: list[NDArray[np.float64]] = []
    ended = False
    while not ended:
        actions.append(act(len(actions), observations, info["action_mask"]))
        observations, reward, terminated, _, info = env.step(actions[-1])
        rewards.append(reward)
        ended = bool(terminated.all())
    return Batch(
        actions=np.stack(actions, axis=1),
        rewards=np.stack(rewards, axis=1),
        latency_ms=info["latency_ms"],
    )


@dataclass(slots=True)
class Experience:
    """The memory of every episode: what was chosen, and how fast. Its clock starts with it.

    Attributes:
        on_episode: Called after each episode; None calls nothing.
        episodes: The number of episodes so far.
        best_ms: The least latency of any episode; infinite before the first.
        best: The plan of that latency (steps,); None before the first episode.
    """

    on_episode: Callable[[Episode], None] | None = None
    episodes: int = 0
    best_ms: float = np.inf
    best: NDArray[np.int64] | None = None
    _wanted: int = 0
    _began_s: float = field(default_factory=time.perf_counter)
    _actions: list[NDArray[np.int32]] = field(default_factory=list)
    _latency_ms: list[NDArray[np.float64]] = field(default_factory=list)

    @classmethod
    def begin(cls, episodes: int, on_episode: Callable[[Episode], None] | None) -> Self:
        """The memory of a run of that many episodes, all of them still `left`.

        Raises:
            ValueError: Fewer than 1 episode.
        """
        _require(episodes)
        return cls(on_episode, _wanted=episodes)

    @property
    def left(self) -> int:
        """The number of episodes to come in the run that `begin` began."""
        return self._wanted - self.episodes

    def add(self, batch: Batch, epsilon: NDArray[np.float64], keep: int) -> None:
        """Remembers and reports the first `keep` episodes of a batch, with their epsilon (n,)."""
        self._actions.append(batch.actions[:keep].astype(np.int32))
        self._latency_ms.append(batch.latency_ms[:keep])
        for row, latency_ms in enumerate(batch.latency_ms[:keep].tolist()):
            if latency_ms < self.best_ms:
                self.best_ms, self.best = latency_ms, batch.actions[row]
            if self.on_episode:
                self.on_episode(
                    Episode(
                        number=self.episodes,
                        latency_ms=latency_ms,
                        best_ms=self.best_ms,
                        epsilon=float(epsilon[row]),
                    )
                )
            self.episodes += 1

    def see(self, plans: NDArray[np.int64], latency_ms: NDArray[np.float64]) -> None:
        """Remembers plans that were looked at whole, without an environment."""
        batch = Batch(actions=plans, rewards=np.empty((len(plans), 0)), latency_ms=latency_ms)
        self.add(batch, epsilon=np.full(len(plans), np.nan), keep=len(plans))

    def policy(self) -> Policy:
        """The best plan, and the candidates that are worth measuring.

        Raises:
            ValueError: Nothing was remembered yet.
        """
        _require(self.episodes)
        plans, latency_ms = self._distinct()
        candidates = plans[_varied(plans, CANDIDATES)]
        return Policy(
            choice=candidates[0],
            latency_ms=float(latency_ms[0]),
            candidates=candidates,
            episodes=self.episodes,
            steps=self.episodes * plans.shape[1],
            seconds=time.perf_counter() - self._began_s,
        )

    def _distinct(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The different plans (n, steps) and their latency (n,), the fastest first."""
        actions, latency_ms = np.concatenate(self._actions), np.concatenate(self._latency_ms)
        first: dict[bytes, int] = {}
        for row in np.argsort(latency_ms, kind="stable").tolist():
            first.setdefault(actions[row].tobytes(), row)
        rows = np.fromiter(first.values(), dtype=np.intp)
        return actions[rows].astype(np.int64), latency_ms[rows]


def _require(episodes: int) -> None:
    """Raises ValueError unless there is at least 1 episode to learn from."""
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, not {episodes}")


def _varied(plans: NDArray[np.int64], count: int) -> list[int]:
    """The rows of the plans to measure, ascending: half the first rows, half the first that differ.

    The best few of a run are often one plan with a layer or two changed. They tell little of where
    the cost model errs, so each of the other half differs in a twentieth of the layers, and in two
    at least, from all that were taken before.
    """
    taken = list(range(min(count // 2, len(plans))))
    apart = max(2, plans.shape[1] // 20)
    for row in range(len(taken), len(plans)):
        if len(taken) == count:
            break
        if ((plans[taken] != plans[row]).sum(axis=1) >= apart).all():
            taken.append(row)
    return taken


def random_actions(
    rng: np.random.Generator, mask: NDArray[np.int8] | NDArray[np.bool_]
) -> NDArray[np.int64]:
    """An action for each row of a mask (n,), uniform over those the row permits."""
    return np.asarray((rng.random(mask.shape) * mask).argmax(axis=1))
