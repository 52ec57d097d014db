"""Rounds of Dyna-Q: learn on the cost model, measure what was learned on the board, refit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents import agent
from qsdnn.agents.base import Agent, Policy
from qsdnn.agents.exact.solver import Exact
from qsdnn.cost.model import CostModel, undivided
from qsdnn.measure.paired import runs_beside
from qsdnn.tuning.bench import GROUP, Bench
from qsdnn.tuning.budget import Budget
from qsdnn.tuning.config import WORTH
from qsdnn.tuning.history import HeldOut, History
from qsdnn.tuning.limits.constraint import Constraint
from qsdnn.tuning.rounds.acquisition import BATCH, Proposer
from qsdnn.tuning.rounds.outlook import Outlook, outlook
from qsdnn.tuning.rounds.sequential_test import Decision, SequentialTest
from qsdnn.tuning.stopwatch import Part
from qsdnn.tuning.trial import Trial

TRIES = 3
"""The number of times a round learns anew when all it found loses too much accuracy."""

REPEATS, MOST_TIMES = 2, 3
"""The number of plans measured again in a round, because they seem faster than the incumbent and
that is not sure; and the number of times that a plan is measured at the most."""

SURE = 0.95
"""The certainty that nothing is left to gain at which rounds end, where none is asked for."""

MOST_IN_VIEW = 32
"""The number of plans that the agent learned, best first, that an outlook considers."""

ROUNDING = 1e-12
"""The gap below which a difference is the order in which costs were added up."""


@dataclass(slots=True)
class Learning:
    """The record of what the agent did over all rounds.

    Attributes:
        rounds: The number of rounds.
        episodes: The number of episodes in all rounds, on the mean cost model.
        steps: The number of environment steps in those episodes.
        seconds: The wall time of those episodes.
        gap: The last policy's predicted latency over the optimum of the cost model, minus 1; over a
            lower bound on the optimum where that is not proven; None where nothing was learned.
        bound_ms: The optimum of the cost model, or the lower bound on it.
        proven: Whether `bound_ms` is the optimum.
        held_out: The quality of the last cost model's predictions.
        ended: The reason why the rounds ended, for people.
        improvements: The number of plans that became the incumbent.
        outlook: The expectation of what more measuring would gain; None where nothing was learned.
    """

    rounds: int = 0
    episodes: int = 0
    steps: int = 0
    seconds: float = 0.0
    gap: float | None = None
    bound_ms: float = 0.0
    proven: bool = False
    held_out: HeldOut = field(default_factory=HeldOut)
    ended: str = ""
    improvements: int = 0
    outlook: Outlook | None = None


class Rounds:
    """The part of a search that learns and measures in rounds.

    Args:
        bench: The bench that builds and measures plans.
        history: The history of all that was measured.
        best_uniform: The first incumbent; everything is measured beside it and the incumbent.
        learner: The agent that learns on the cost model.
        constraint: The constraint that plans must keep.
        on_best: Called with every new incumbent, and its predicted latency.

    Attributes:
        learning: The record of what the agent did so far.
        uniform: The best uniform plan.
        incumbent: The best plan so far: no other was faster with confidence.
    """

    def __init__(
        self,
        bench: Bench,
        history: History,
        best_uniform: Trial,
        learner: Agent,
        constraint: Constraint,
        on_best: Callable[[Trial, float], None],
    ) -> None:
        config = bench.config
        self.learning = Learning()
        self.incumbent = best_uniform
        self._bench = bench
        self._history = history
        self.uniform = best_uniform
        self._learner = learner
        self._constraint = constraint
        self._refused: list[NDArray[np.int64]] = []
        self._proposer = Proposer(
            sampler=agent(config.agent, config.preset),
            cut=bench.cut,
            constraint=constraint,
            episodes=config.episodes,
            seed=config.seed,
        )
        self._exact = Exact(plans=1)
        self._on_best = on_best
        self._in_view: list[NDArray[np.int64]] = []
        self._tests: dict[bytes, SequentialTest] = {}
        self._challengers = 0

    def run(self, budget: Budget) -> CostModel:
        """Learns and measures until nothing better is found, or the budget is over.

        Returns:
            The cost model at the end.
        """
        held = 0
        self.learning.ended = budget.ended(self._bench.pace.group_s)
        while not self.learning.ended:
            policy, fresh, again = self._next(budget)
            if not fresh and not again:
                self.learning.outlook = self._outlook()
                self.learning.ended = (
                    budget.ended(self._bench.pace.group_s) or "no plan is left that may be faster"
                )
                break
            number = self.learning.rounds
            self._bench.listener.phase(f"Measuring round {number}", len(fresh) + len(again))
            improved = self._measure(fresh, again)
            self.learning.outlook = self._outlook()
            held = 0 if improved else held + 1
            self._report(policy)
            self.learning.ended = self._end(budget, held)
        count, why = self.learning.rounds, self.learning.ended
        rounds = "1 round" if count == 1 else f"{count} rounds"
        self._bench.listener.note(f"the search ends after {rounds}: {why}")
        if self.learning.outlook is not None:
            self._bench.listener.note(str(self.learning.outlook))
        self.learning.held_out = self._history.held_out()
        return self._history.belief().cost

    def ranked(self) -> list[Trial]:
        """The incumbent, then the other plans, fastest first."""
        key = self.incumbent.key
        others = [t for _, t in self._history.ranked() if t.key != key]
        return [self.incumbent, *others]

    def _end(self, budget: Budget, held: int) -> str:
        config, found = self._bench.config, self.learning.outlook
        until = SURE if config.until is None else config.until
        if found is not None and found.chance < 1 - until:
            return f"it is {until:.0%} sure that no plan in view gains over {WORTH:.0%}"
        if config.until is None and held >= config.patience:
            return f"the best plan held for {held} rounds"
        return budget.ended(self._bench.pace.group_s)

    def _next(self, budget: Budget) -> tuple[Policy, list[NDArray[np.int64]], list[Trial]]:
        """The policy that was learned, new plans to measure, and old ones to measure again."""
        cost = self._history.belief().cost
        self.learning.rounds += 1
        for _ in range(TRIES):
            policy = self._learn(self._constraint.price(cost))
            if budget.ended(self._bench.pace.group_s + self._constraint.evaluating_s(BATCH)):
                return policy, [], []
            with self._bench.stopwatch.part(Part.LEARNING):
                near = self._constraint.near(cost, np.vstack([policy.candidates, undivided(cost)]))
                proposed = self._proposer.propose(
                    self._history.belief(),
                    near,
                    self.incumbent.choice,
                    [*(trial.choice for trial in self._history.trials), *self._refused],
                    self.learning.rounds - 1,
                )
            self._in_view = [*proposed, *near[:MOST_IN_VIEW]]
            fresh = self._admitted(proposed)
            if fresh or not proposed:
                break
        again = self._repeated()
        groups = max(1, int(min(BATCH, budget.left_s / max(self._bench.pace.group_s, 1e-3))))
        room = int(min(BATCH + REPEATS, budget.plans, GROUP * groups))
        again = again[:room]
        return policy, fresh[: room - len(again)], again

    def _outlook(self) -> Outlook | None:
        """What is still to be gained, among the plans that the last round had in view."""
        if not self._in_view:
            return None
        cut = self._bench.cut
        return outlook(
            self._history.belief(),
            [cut(plan) for plan in self._in_view],
            cut(self.incumbent.choice),
            self._bench.config.seed,
        )

    def _admitted(self, plans: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        admitted = self._constraint.admits(plans)
        self._refused += [plan for plan, good in zip(plans, admitted, strict=True) if not good]
        return [plan for plan, good in zip(plans, admitted, strict=True) if good]

    def _learn(self, cost: CostModel) -> Policy:
        config, listener, learning = self._bench.config, self._bench.listener, self.learning
        number = learning.rounds - 1
        listener.phase(f"Learning round {number + 1}", config.episodes)
        with self._bench.stopwatch.part(Part.LEARNING):
            policy = self._learner.learn(
                cost,
                episodes=config.episodes,
                seed=config.seed + number,
                on_episode=lambda episode: listener.episode(number, episode),
            )
            optimum = self._exact.learn(cost)
        learning.episodes += policy.episodes
        learning.steps += policy.steps
        learning.seconds += policy.seconds
        gap = policy.latency_ms / optimum.bound_ms - 1
        learning.gap = gap if abs(gap) > ROUNDING else 0.0
        learning.bound_ms, learning.proven = optimum.bound_ms, optimum.proven
        return policy

    def _repeated(self) -> list[Trial]:
        """The plans that seem faster than the incumbent, fastest first."""
        latency_ms = {t.key: ms for ms, t in self._history.ranked()}
        now_ms = latency_ms.get(self.incumbent.key, self.incumbent.latency_ms)
        return [
            trial
            for ms, trial in self._history.ranked()
            if ms < now_ms
            and self._decision(trial) is not Decision.SLOWER
            and self._history.times(trial) < MOST_TIMES
            and self._constraint.admits([trial.choice])[0]
        ][:REPEATS]

    def _measure(self, fresh: list[NDArray[np.int64]], again: list[Trial]) -> bool:
        """Measures plans beside the incumbent; returns whether one of them takes its place."""
        beside = {trial.package.digest: trial for trial in (self.uniform, self.incumbent)}
        anchors = list(beside.values())
        trials = self._bench.in_groups(fresh, anchors)
        for number, group in groupby(sorted(again, key=self._history.times), self._history.times):
            choices = [trial.choice for trial in group]
            trials += self._bench.in_groups(choices, anchors, f"plan {number + 1}")
        self._history.add(trials)
        self._bench.tell_best([*trials, self.incumbent])
        for trial in trials:
            self._compare(trial)
        faster = [t for t in trials if t.ok and self._decision(t) is Decision.FASTER]
        if not faster:
            return False
        self.incumbent = min(faster, key=lambda trial: self._test_of(trial).ratio)
        self._tests.clear()
        self.learning.improvements += 1
        self._on_best(self.incumbent, self._history.predict(self.incumbent))
        return True

    def _compare(self, trial: Trial) -> None:
        """Adds the runs that a plan made beside the incumbent to their test, as pairs."""
        if trial.ok:
            for mine, others in runs_beside(trial.record, self.incumbent.package.digest):
                self._test_of(trial).add(mine, others)

    def _test_of(self, trial: Trial) -> SequentialTest:
        """The test of a plan against the incumbent."""
        key = trial.key
        if key not in self._tests:
            self._challengers += 1
            self._tests[key] = SequentialTest(rank=self._challengers)
        return self._tests[key]

    def _decision(self, trial: Trial) -> Decision:
        test = self._tests.get(trial.key)
        return Decision.OPEN if test is None else test.decision

    def _report(self, policy: Policy) -> None:
        listener, number = self._bench.listener, self.learning.rounds
        listener.scalar("search/predicted_ms", policy.latency_ms, number)
        listener.scalar("search/measured_ms", self.incumbent.latency_ms, number)
        listener.scalar("search/gap", self.learning.gap or 0.0, number)
