"""Proposals: the plans to measure next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.base import Agent
from qsdnn.cost.belief import Belief
from qsdnn.cost.terms import Observation
from qsdnn.tuning.limits.constraint import Constraint

BATCH = 4
"""The number of plans proposed a round, at the most."""

DRAWS, DRAW_EPISODES = 2, 0.25
"""The number of cost models drawn a round, and the share of the episodes spent on each."""

HOPE = 1.0
"""The number of standard deviations of the predicted difference by which a plan is given the
benefit of the doubt: it is promising while it may thus be faster than the incumbent."""


@dataclass(frozen=True, slots=True)
class _Promising:
    """A plan, its predicted time less the incumbent's in ms, and a lower bound of that."""

    plan: NDArray[np.int64]
    gain_ms: float
    bound_ms: float


@dataclass(slots=True, kw_only=True)
class Proposer:
    """Chooses plans that are promising, new, and unlike one another.

    Half of a batch are among those that the agent found on the mean cost model: the best, and the
    best by its lower confidence bound. The other half are what an agent finds on cost models drawn
    from the belief (posterior sampling: Strens 2000; Osband, Russo, Van Roy 2013), which tries
    plans where the model is unsure as often as they may be the best.

    Attributes:
        sampler: The agent that learns on the drawn models. It is another one than learns on the
            mean: the values of one are wrong for the other.
        cut: A function that cuts a plan into segments.
        constraint: The constraint that plans must keep.
        episodes: The number of episodes of the agent on the mean model.
        seed: The seed of every random number.
    """

    sampler: Agent = field(repr=False)
    cut: Callable[[NDArray[np.int64]], list[Observation]] = field(repr=False)
    constraint: Constraint = field(repr=False)
    episodes: int
    seed: int

    def propose(
        self,
        belief: Belief,
        learned: NDArray[np.int64],
        incumbent: NDArray[np.int64],
        measured: Iterable[NDArray[np.int64]],
        round_number: int,
    ) -> list[NDArray[np.int64]]:
        """The batch of a round; empty when no plan is promising.

        Args:
            belief: The belief about the costs.
            learned: The plans that the agent found on the mean of the belief (n, layers), best
                first.
            incumbent: The best plan so far.
            measured: The plans that need not be measured any more.
            round_number: The number of the round, from 0.
        """
        known = {plan.tobytes() for plan in measured}
        apart = max(1, len(incumbent) // 50)
        batch: list[NDArray[np.int64]] = []
        promising = self._promising(belief, learned, incumbent)
        best = sorted(promising, key=lambda one: one.gain_ms)
        hopeful = sorted(promising, key=lambda one: one.bound_ms)
        _take(batch, best, known, apart, 1)
        _take(batch, hopeful, known, apart, BATCH - DRAWS)
        for draw in range(DRAWS):
            rng = np.random.default_rng([self.seed, round_number, draw])
            drawn = belief.draw(rng)
            policy = self.sampler.learn(
                self.constraint.price(drawn),
                episodes=max(1, int(DRAW_EPISODES * self.episodes)),
                seed=self.seed + round_number * DRAWS + draw,
            )
            near = self.constraint.near(drawn, policy.candidates)
            drawn_plans = self._promising(belief, near, incumbent)
            _take(batch, drawn_plans, known, apart, len(batch) + 1)
        _take(batch, hopeful, known, apart, BATCH)
        return batch

    def _promising(
        self,
        belief: Belief,
        candidates: NDArray[np.int64],
        incumbent: NDArray[np.int64],
    ) -> list[_Promising]:
        """The candidates that may be faster than the incumbent, in their order."""
        if not len(candidates):
            return []
        plans, best = [self.cut(choice) for choice in candidates], self.cut(incumbent)
        gain_ms = belief.latency_ms(plans) - belief.latency_ms([best])
        bound_ms = gain_ms - HOPE * belief.spread_ms(plans, than=best)
        found = zip(candidates, gain_ms.tolist(), bound_ms.tolist(), strict=True)
        return [_Promising(plan, gain, bound) for plan, gain, bound in found if bound < 0]


def _take(
    batch: list[NDArray[np.int64]],
    plans: Sequence[_Promising],
    known: set[bytes],
    apart: int,
    until: int,
) -> None:
    """Adds plans that are not known, and differ in `apart` layers from all others in the batch."""
    for plan in (one.plan for one in plans):
        if len(batch) >= until:
            return
        if plan.tobytes() not in known and all((plan != o).sum() >= apart for o in batch):
            batch.append(plan)
