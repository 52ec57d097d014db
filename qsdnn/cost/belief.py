"""Belief: a fitted cost model that knows how unsure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qsdnn.cost.model import CostModel
from qsdnn.cost.terms import ENTER, LEAVE, Observation, Terms

Plan = Sequence[Observation]
"""A plan as it is cut into segments; their times do not matter."""

NORMAL_95 = 1.96
"""The number of standard deviations that a normal variable is within with 95 % probability."""

SHARE = 0.5
"""The share of the noise's variance that is left in the sum over a plan's segments: what is left of
two equal, independent ones. More segments average more, but some of the noise is common."""


@dataclass(frozen=True, kw_only=True)
class Belief:
    """The normal distribution of the unknowns, given what was measured.

    Attributes:
        terms: The unknowns, as columns of a linear system.
        mean: The mean of the unknowns (columns,).
        spread: The prior standard deviation of each unknown (columns,).
        noise: The relative error of a measured segment that the terms do not explain.
        rate_spread: The standard deviation of the rates (2, labels, 2) before any was held at zero:
            a held rate is not known to be zero.
        explained: The matrix W (observations, columns) such that the covariance of the unknowns is
            S (I − WᵀW) S, with S the diagonal of `spread`.
    """

    terms: Terms
    mean: NDArray[np.float64] = field(repr=False)
    spread: NDArray[np.float64] = field(repr=False)
    noise: float
    rate_spread: NDArray[np.float64] = field(repr=False)
    explained: NDArray[np.float64] = field(repr=False)

    @property
    def cost(self) -> CostModel:
        """The cost model of the mean."""
        return self._model(self.mean)

    @property
    def spreads(self) -> NDArray[np.float64]:
        """The standard deviation of each unknown (columns,), given the measurements."""
        return posterior_spread(self.spread, self.explained)

    def latency_ms(self, plans: Sequence[Plan]) -> NDArray[np.float64]:
        """The predicted latency of plans (n,), in ms.

        The prediction is a little more exact than that of `cost`, which knows the domains of a
        plan's layers and not how the plan is cut: two segments of one domain may be neighbours,
        when to run them as one would need what has not been made yet, and tensors between them
        cross as well.

        Args:
            plans: The segments of each plan.
        """
        return np.asarray(self._rows(plans) @ self.mean)

    def spread_ms(self, plans: Sequence[Plan], *, than: Plan = ()) -> NDArray[np.float64]:
        """The standard deviation of the predicted latency of plans (n,), in ms.

        The standard deviation is that of the mean of many measurements, without the noise of a
        single one.

        Args:
            plans: The segments of each plan.
            than: A plan to compare with: the deviation is then of the difference in latency from
                this plan, and what both share does not count. Empty compares with nothing.
        """
        return self._spread_ms(self._rows(plans) - self._rows([than]))

    def least_ms(self, plans: Sequence[Plan]) -> NDArray[np.float64]:
        """The latency that plans (n,) are hardly below, in ms: that of their layers alone.

        The lower end of the 95 % interval of what the layers take. A crossing takes no less than no
        time, which a normal distribution does not know.

        Args:
            plans: The segments of each plan.
        """
        rows = self._rows(plans)
        rows[:, self.terms.factors : self.terms.part] = 0.0  # the columns of crossings
        return np.asarray(rows @ self.mean - NORMAL_95 * self._spread_ms(rows))

    def draws_ms(
        self, plans: Sequence[Plan], *, than: Plan, count: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Draws of how much longer plans take than another one (count, n), in ms.

        Args:
            plans: The segments of each plan.
            than: The segments of the plan to compare with.
            count: The number of draws; in each, what plans share is the same for all.
            rng: The generator of every random number.
        """
        rows = self._rows(plans) - self._rows([than])
        scaled = rows * self.spread
        known = scaled @ self.explained.T
        squares, vectors = np.linalg.eigh(scaled @ scaled.T - known @ known.T)
        root = vectors * np.sqrt(np.maximum(squares, 0.0))
        return np.asarray(rows @ self.mean + rng.standard_normal((count, len(rows))) @ root.T)

    def intervals_ms(self, plans: Sequence[Plan]) -> NDArray[np.float64]:
        """The 95 % interval of what measuring the plans will show (n, 2), in ms."""
        latency_ms = self.latency_ms(plans)
        noise_ms = self.noise * latency_ms * np.sqrt(SHARE)
        reach = NORMAL_95 * np.hypot(self.spread_ms(plans), noise_ms)
        return np.stack([latency_ms - reach, latency_ms + reach], axis=1)

    def draw(self, rng: np.random.Generator) -> CostModel:
        """A cost model drawn from the distribution: one that may well be the true one.

        A standard normal vector is multiplied with the symmetric root of I − WᵀW, which only
        differs from I in the few directions that the measurements say something of.
        """
        squares, vectors = np.linalg.eigh(self.explained @ self.explained.T)
        squares = np.clip(squares, 1e-12, 1.0)
        shrink = (1.0 - np.sqrt(1.0 - squares)) / squares
        standard = rng.standard_normal(len(self.mean))
        known = vectors @ (shrink * (vectors.T @ (self.explained @ standard)))
        return self._model(self.mean + self.spread * (standard - self.explained.T @ known))

    def _spread_ms(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The standard deviations (n,) of sums of unknowns (n, columns)."""
        scaled = rows * self.spread
        known = scaled @ self.explained.T
        variance = (scaled**2).sum(axis=1) - (known**2).sum(axis=1)
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

    def _rows(self, plans: Sequence[Plan]) -> NDArray[np.float64]:
        """The factors of the unknowns in each plan's latency (n, columns)."""
        return np.stack([self.terms.rows(plan).sum(axis=0) for plan in plans])

    def _model(self, values: NDArray[np.float64]) -> CostModel:
        terms = self.terms
        crossings = np.maximum(terms.crossings_ms(values), 0.0)
        return CostModel(
            space=terms.space,
            layer_ms=np.maximum(terms.layers_ms(values), 0.0),
            enter_ms=crossings[ENTER],
            leave_ms=crossings[LEAVE],
        )


def posterior_spread(
    spread: NDArray[np.float64], explained: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The standard deviation of each unknown that the measurements leave (columns,).

    Args:
        spread: The standard deviations before anything was measured (columns,).
        explained: The matrix W (observations, columns): see `Belief.explained`.
    """
    left = 1.0 - (explained**2).sum(axis=0)
    return np.asarray(spread * np.sqrt(np.maximum(left, 0.0)))
