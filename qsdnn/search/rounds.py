"""Rounds of Dyna-Q: learn on the cost model, measure what was learned on the board, refit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents import agent
from qsdnn.agents._base import Agent, Policy
from qsdnn.cost.fit import fit
from qsdnn.cost.model import CostModel
from qsdnn.search.profile import Profile
from qsdnn.search.sample import mixed_plan
from qsdnn.search.trial import Bench, Trial

FITTED, HELD_OUT = 16, 8
"""Random mixed plans that fit the boundary terms, and that test the fit."""

ROUNDS = 8
"""Rounds at the most."""

PATIENCE = 2
"""Rounds without a better plan after which learning ends."""

BATCH = 4
"""Candidates measured a round."""

PROMISING = 1.05
"""A candidate predicted slower than this many times the best measured plan is not measured."""

BETTER = 0.998
"""A plan is better when it takes less than this share of the best one's time: below it is noise."""

ROUNDING = 1e-12
"""A gap below it is the order in which costs were added up."""


@dataclass(slots=True)
class Learning:
    """What the agent did over all rounds.

    Attributes:
        rounds: How many.
        episodes: In all rounds.
        steps: Environment steps in them.
        seconds: Wall time of learning.
        gap: The last policy's predicted latency over the optimum of the cost model, minus 1.
        proven: Whether that optimum is proven.
        errors: Of the last refitted cost model, on each held-out plan, relative.
    """

    rounds: int = 0
    episodes: int = 0
    steps: int = 0
    seconds: float = 0.0
    gap: float = 0.0
    proven: bool = False
    errors: tuple[float, ...] = ()


class Rounds:
    """The learning half of a search.

    Args:
        bench: Builds and measures plans.
        profile: Of the uniform plans.
        learner: The agent.
    """

    def __init__(self, bench: Bench, profile: Profile, learner: Agent) -> None:
        self.learning = Learning()
        self.trials: list[Trial] = list(profile.trials.values())
        self._bench = bench
        self._profile = profile
        self._learner = learner
        self._exact = agent("exact")
        self._held_out: list[Trial] = []

    def fit(self) -> CostModel:
        """The cost model of all that was measured, the held-out plans excepted."""
        observations = [
            o for trial in self.trials if trial.ok for o in trial.observations(self._bench.space)
        ]
        return fit(self._bench.space, self._profile.layer_ms, observations)

    def explore(self) -> None:
        """Measures random mixed plans, to fit the boundary terms and to test the fit."""
        plans = self._random_plans(FITTED + HELD_OUT)
        self._bench.listener.phase("Exploring", len(plans))
        measured = self._bench.in_groups(plans, self._profile.best[:1])
        split = len(measured) * FITTED // (FITTED + HELD_OUT)
        self.trials += measured[:split]
        self._held_out = [trial for trial in measured[split:] if trial.ok]

    def run(self, deadline: float) -> CostModel:
        """Learns and measures until nothing better is found, or the time is over.

        Args:
            deadline: `time.monotonic` after which no round starts.

        Returns:
            The cost model at the end.
        """
        stale = 0
        while self.learning.rounds < ROUNDS and stale < PATIENCE:
            if self.learning.rounds and time.monotonic() > deadline:
                self._bench.listener.note("the budget is over; the best plan so far is taken")
                break
            incumbent_ms = min(trial.latency_ms for trial in self.trials)
            cost = self.fit()
            policy = self._learn(cost)
            batch = self._batch(cost, policy, incumbent_ms)
            self._bench.listener.phase(f"Measuring round {self.learning.rounds}", len(batch))
            if not batch:
                break
            self.trials += self._bench.in_groups(batch, self._profile.best[:1])
            best_ms = min(trial.latency_ms for trial in self.trials)
            stale = 0 if best_ms < BETTER * incumbent_ms else stale + 1
            self._report(policy, best_ms)
        cost = self.fit()
        self.learning.errors = self._test(cost)
        return cost

    def _learn(self, cost: CostModel) -> Policy:
        config, listener, learning = self._bench.config, self._bench.listener, self.learning
        number = learning.rounds
        listener.phase(f"Learning round {number + 1}", config.episodes)
        policy = self._learner.learn(
            cost,
            episodes=config.episodes,
            seed=config.seed + number,
            on_episode=lambda episode: listener.episode(number, episode),
        )
        optimum = self._exact.learn(cost, episodes=1, seed=0)
        learning.rounds += 1
        learning.episodes += policy.episodes
        learning.steps += policy.steps
        learning.seconds += policy.seconds
        gap = policy.latency_ms / optimum.latency_ms - 1
        learning.gap = gap if abs(gap) > ROUNDING else 0.0
        learning.proven = optimum.proven
        return policy

    def _batch(
        self, cost: CostModel, policy: Policy, incumbent_ms: float
    ) -> list[NDArray[np.int64]]:
        """The most promising plans that were not measured yet, no two nearly the same."""
        seen = [trial.choice for trial in self.trials]
        apart = max(1, len(cost.space.layers) // 50)
        batch: list[NDArray[np.int64]] = []
        for choice in policy.candidates:
            if len(batch) == BATCH or cost.predict(choice) > PROMISING * incumbent_ms:
                break
            new = all((choice != other).any() for other in seen)
            if new and all((choice != other).sum() >= apart for other in batch):
                batch.append(choice)
        return batch

    def _random_plans(self, count: int) -> list[NDArray[np.int64]]:
        space = self._bench.space
        if len(space.families) < 2 or len(space.layers) < 2:
            return []
        rng = np.random.default_rng([self._bench.config.seed, len(space.layers)])
        plans: dict[bytes, NDArray[np.int64]] = {}
        for _ in range(10 * count):  # small networks have few plans
            plan = mixed_plan(space, self._profile.layer_ms, rng)
            plans.setdefault(plan.tobytes(), plan)
            if len(plans) == count:
                break
        return list(plans.values())

    def _test(self, cost: CostModel) -> tuple[float, ...]:
        return tuple(
            abs(cost.predict(trial.choice) / trial.latency_ms - 1) for trial in self._held_out
        )

    def _report(self, policy: Policy, best_ms: float) -> None:
        listener, number = self._bench.listener, self.learning.rounds
        listener.scalar("search/predicted_ms", policy.latency_ms, number)
        listener.scalar("search/measured_ms", best_ms, number)
        listener.scalar("search/gap", self.learning.gap, number)


def distinct(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that ended well, fastest first, one for each plan."""
    best: dict[bytes, Trial] = {}
    for trial in sorted((t for t in trials if t.ok), key=lambda t: t.latency_ms):
        best.setdefault(trial.choice.tobytes(), trial)
    return list(best.values())
