"""The front of latency against accuracy: no plan is both faster and more exact than one of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsdnn.accuracy.noise import NoiseModel
from qsdnn.agents.exact import Exact
from qsdnn.cost.model import CostModel
from qsdnn.search.pricing import price_of, priced, within
from qsdnn.search.trial import Trial

POINTS = 12
"""Limits that are tried, evenly spaced in decibels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A plan that was measured and evaluated.

    Attributes:
        trial: Its measurement.
        ratio: Its latency over that of the best uniform plan in fp32, from interleaved runs.
        sqnr_db: Signal-to-quantization-noise ratio of its outputs, on data kept apart.
        score: Its metric there; None without labels.
        drop: What the metric lost.
    """

    trial: Trial
    ratio: float
    sqnr_db: float
    score: float | None
    drop: float | None


def predicted_front(
    cost: CostModel, noise: NoiseModel, points: int = POINTS
) -> list[NDArray[np.int64]]:
    """Plans that are predicted to be on the front, fastest first.

    Args:
        cost: Latency in ms.
        noise: Of the same space.
        points: Limits of noise to try.
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
    kept = undominated(latency_ms.tolist(), noise.predict(every).tolist())
    return [every[i] for i in kept]


def undominated(latency: Sequence[float], loss: Sequence[float]) -> list[int]:
    """Indices of those that no other beats in both, by ascending latency."""
    best, kept = math.inf, []
    for i in sorted(range(len(latency)), key=lambda i: (latency[i], loss[i])):
        if loss[i] < best:
            best = loss[i]
            kept.append(i)
    return kept
