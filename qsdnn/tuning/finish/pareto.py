"""The front of latency, accuracy and memory: none of its plans is beaten by another in all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsdnn.accuracy.loss import Loss
from qsdnn.accuracy.noise import NoiseModel, noise_of
from qsdnn.agents.exact.solver import Exact
from qsdnn.cost.model import CostModel
from qsdnn.measure.paired import runs_beside
from qsdnn.space import Space
from qsdnn.tuning.bench import Bench
from qsdnn.tuning.config import TIE
from qsdnn.tuning.limits.constraint import AccuracyLimit
from qsdnn.tuning.limits.lagrangian import price_of, priced, within
from qsdnn.tuning.rounds.sequential_test import turn_ratios
from qsdnn.tuning.trial import Trial

POINTS = 12
"""The number of limits that are tried, evenly spaced in decibels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A plan that was measured and evaluated.

    Attributes:
        trial: The measurement of the plan.
        ratio: The latency over that of the best uniform plan within the limit, from interleaved
            runs.
        loss: The loss of the plan, on data kept apart.
    """

    trial: Trial
    ratio: float
    loss: Loss


def front(
    bench: Bench, limit: AccuracyLimit, cost: CostModel, uniform: Trial, known: Sequence[Trial]
) -> list[Point]:
    """Measures and evaluates the plans that are predicted to be on the front.

    Args:
        bench: The bench that builds and measures plans.
        limit: The limit that evaluates the plans; how much it allows does not matter.
        cost: The cost model of the last round.
        uniform: The uniform plan that the others are measured beside.
        known: The further plans that may be on the front, the best first.

    Returns:
        The points that no other beats in all three, fastest first.
    """
    plans = predicted_front(cost, limit.noise)
    plans += _of_their_kind(bench.space, [trial.choice for trial in known], plans)
    bench.listener.phase("Measuring the front of latency, accuracy and memory", len(plans))
    trials = [t for t in bench.in_groups(plans, [uniform], "front, memory", weigh=True) if t.ok]
    losses = limit.deciding([trial.choice for trial in trials])
    points = [
        Point(trial=trial, ratio=_ratio(trial, uniform), loss=loss)
        for trial, loss in zip(trials, losses, strict=True)
        if loss is not None
    ]
    return [points[i] for i in undominated([_costs(point) for point in points])]


def _of_their_kind(
    space: Space, known: Sequence[NDArray[np.int64]], plans: Sequence[NDArray[np.int64]]
) -> list[NDArray[np.int64]]:
    """The first plan of each set of engines and precisions: others of it take as much memory."""
    seen = {plan.tobytes() for plan in plans}
    first: dict[frozenset[tuple[str, str]], NDArray[np.int64]] = {}
    for plan in known:
        chosen = [space.primitives[p] for p in plan]
        first.setdefault(frozenset((p.engine, str(p.precision)) for p in chosen), plan)
    return [plan for plan in first.values() if plan.tobytes() not in seen]


def _costs(point: Point) -> tuple[float, ...]:
    """The costs of a point, all to be little of; nearly as much memory counts as the same."""
    memory_mb = point.trial.record.peak_memory_mb
    steps = math.inf if memory_mb is None else round(math.log(memory_mb) / math.log(TIE))
    return point.ratio, noise_of(point.loss.sqnr_db), steps


def _ratio(trial: Trial, uniform: Trial) -> float:
    pairs = runs_beside(trial.record, uniform.package.digest)
    if not pairs:
        return trial.latency_ms / uniform.latency_ms
    return float(np.median(np.concatenate([turn_ratios(mine, its) for mine, its in pairs])))


def predicted_front(
    cost: CostModel, noise: NoiseModel, points: int = POINTS
) -> list[NDArray[np.int64]]:
    """The plans that are predicted to be on the front, fastest first.

    Args:
        cost: The cost model: latency in ms of every plan.
        noise: The noise model of the same space.
        points: The number of limits of noise to try.
    """
    exact = Exact(plans=1)
    fastest = exact.learn(cost).choice
    loudest = float(noise.predict(fastest)[0])
    least = np.where(cost.space.mask, noise.power, np.inf).min(axis=1)
    quietest = max(float(least.sum()), loudest * 1e-6, 1e-12)
    limits = np.geomspace(loudest, quietest, max(points, 2))[1:]
    plans = [fastest]
    for limit in limits.tolist():
        best = exact.learn(priced(cost, noise, price_of(cost, noise, limit))).choice
        plans.append(within(cost, noise, limit, best))
    every = np.unique(np.array(plans), axis=0)
    latency_ms = np.array([cost.predict(plan) for plan in every])
    kept = undominated(list(zip(latency_ms.tolist(), noise.predict(every).tolist(), strict=True)))
    return [every[i] for i in kept]


def undominated(costs: Sequence[tuple[float, ...]]) -> list[int]:
    """The indices of costs that no other beats or equals in all, ascending; of equals the first."""
    kept: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: costs[i]):
        pairs = (zip(costs[k], costs[i], strict=True) for k in kept)
        if not any(all(mine <= other for mine, other in pair) for pair in pairs):
            kept.append(i)
    return kept
