"""Fit: from a profile and the times of measured segments to a cost model and its uncertainty.

The unknowns (`qsdnn.cost.terms`) have independent normal priors, and the measured times normal
errors: ridge regression around the prior, whose posterior is a normal distribution too (Bishop,
Pattern Recognition and Machine Learning, 3.3). Three things the data decide:

- How far layers are from their profile, how unlike crossings are, and how large the errors are: of
  a few values the most likely, by the marginal likelihood of the measurements (MacKay, Bayesian
  interpolation, 1992; Bishop 3.5). A noisy machine so makes wider intervals by itself.
- How large crossings are at all, which is the scale of their differences: a first fit of the rates.
- No cost is below zero: where the solution is, the cost is held at zero and the rest solved again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.cost.belief import Belief, posterior_spread
from qsdnn.cost.terms import PART, RATES, Observation, Terms
from qsdnn.space import Space

PROFILE_SPREAD = 0.12
"""The standard deviation of a layer's time in another context from its profiled time, relative: the
middle of what is tried."""

TRIED: Mapping[str, tuple[float, ...]] = {
    "layers": (PROFILE_SPREAD, 0.06, 0.25, 0.5),
    "crossings": (0.5, 0.25, 1.0),
    "noise": (0.02, 0.01, 0.04, 0.08, 0.16),
}
"""The values that are tried, the usual first: spread of layer times and of single crossings around
the rates, both relative, and relative error of a measured segment."""

NOISE_MS = 0.003
"""The least error of a measured segment's time: the clock, and the loop around the segments."""

CROSSING_FLOOR_MS = 0.005
"""The least scale of a single crossing's distance from the rates."""

SWEEPS, HOLDS = 2, 8
"""The number of passes over `TRIED`, and of rounds that hold costs below zero at zero."""

ZERO_MS = 1e-4
"""The error allowed to costs that are held at zero."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """The knowledge of a space before anything is measured, e.g. from other networks.

    Attributes:
        layer_ms: The times of layers (layers, primitives); NaN where nothing is known.
        layer_spread: The relative standard deviation of those times (layers, primitives).
        rates: The rates of a crossing (2, labels, 2), by direction.
        rate_spread: The standard deviation of the rates (2, labels, 2).
    """

    layer_ms: NDArray[np.float64] = field(repr=False)
    layer_spread: NDArray[np.float64] = field(repr=False)
    rates: NDArray[np.float64]
    rate_spread: NDArray[np.float64]


def no_prior(space: Space) -> Prior:
    """The prior of a space of which nothing is known."""
    shape = (2, len(space.labels), len(RATES))
    return Prior(
        layer_ms=np.full(space.mask.shape, np.nan),
        layer_spread=np.full(space.mask.shape, np.nan),
        rates=np.broadcast_to([mean for mean, _ in RATES], shape).copy(),
        rate_spread=np.broadcast_to([spread for _, spread in RATES], shape).copy(),
    )


def fit(
    space: Space,
    profile_ms: NDArray[np.float64],
    observations: Sequence[Observation],
    prior: Prior | None = None,
) -> Belief:
    """Fits the costs of a space to observations, with their uncertainty.

    Args:
        space: The search space: the layers and what each may run as.
        profile_ms: The profiled times (layers, primitives), scaled to the unprofiled latency; NaN
            or infinite where nothing was profiled.
        observations: The measured segments of uniform and mixed plans.
        prior: The knowledge from elsewhere; None where nothing is known.
    """
    prior = prior or no_prior(space)
    base_ms, doubt = _combine(profile_ms, prior)
    terms = Terms(space=space, profile_ms=base_ms)
    mean, spread = np.zeros(terms.count), np.zeros(terms.count)
    mean[: terms.factors] = 1.0
    spread[: terms.factors] = doubt[terms.layer >= 0]
    mean[terms.rate], spread[terms.rate] = prior.rates, prior.rate_spread
    mean[terms.part], spread[terms.part] = PART
    system = _System(
        matrix=terms.rows(observations),
        target=np.array([o.ms for o in observations], dtype=float),
        doubt=np.array([o.doubt for o in observations], dtype=float),
        mean=mean,
        spread=spread,
    )
    settings = {name: tried[0] for name, tried in TRIED.items()}
    spread[terms.crossing] = _crossing_scale(terms, system, settings["layers"])
    settings = _most_likely(terms, system, settings)
    spread[: terms.factors] *= settings["layers"]
    spread[terms.crossing] *= settings["crossings"]
    return _hold_at_zero(terms, system, settings["noise"])


@dataclass(slots=True, kw_only=True)
class _System:
    """The linear system: matrix · x = target ± noise, and x = mean ± spread.

    Attributes:
        matrix: The factors of the unknowns in each segment's time (rows, columns).
        target: The measured times (rows,).
        doubt: The factor on each time's noise (rows,).
        mean: The prior mean of the unknowns (columns,).
        spread: The prior standard deviation of the unknowns (columns,).
    """

    matrix: NDArray[np.float64]
    target: NDArray[np.float64]
    doubt: NDArray[np.float64]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]

    @property
    def residual(self) -> NDArray[np.float64]:
        """The part of the times that the prior mean leaves to explain (rows,)."""
        return np.asarray(self.target - self.matrix @ self.mean)

    def errors_ms(self, noise: float) -> NDArray[np.float64]:
        """The standard deviation of each measured time (rows,)."""
        return np.asarray(self.doubt * (noise * self.target + NOISE_MS))

    def covariance(self, columns: NDArray[np.intp]) -> NDArray[np.float64]:
        """The covariance of the times (rows, rows), as far as the given unknowns cause it."""
        some = self.matrix[:, columns]
        used = some.any(axis=0)
        scaled = some[:, used] * self.spread[columns][used]
        return np.asarray(scaled @ scaled.T)


def _combine(
    profile_ms: NDArray[np.float64], prior: Prior
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The layer times from the profile and the prior, and their spread relative to the profile's.

    Profile and prior are weighted by their precision, in logarithms: neither can make a time
    negative.
    """
    known = np.isfinite(prior.layer_ms) & np.isfinite(profile_ms) & (prior.layer_ms > 0)
    known &= profile_ms > 0
    weight = np.zeros(profile_ms.shape)
    weight[known] = PROFILE_SPREAD**2 / (PROFILE_SPREAD**2 + prior.layer_spread[known] ** 2)
    ratio = np.ones(profile_ms.shape)
    ratio[known] = prior.layer_ms[known] / profile_ms[known]
    return profile_ms * ratio**weight, np.sqrt(1.0 - weight)


def _crossing_scale(terms: Terms, system: _System, layers: float) -> NDArray[np.float64]:
    """The cost of crossings (2, edges, labels) by a first fit of the rates alone."""
    rates, factors = terms.rate.ravel(), np.arange(terms.factors)
    covariance = system.covariance(terms.general) + layers**2 * system.covariance(factors)
    covariance += np.diag(system.errors_ms(TRIED["noise"][0]) ** 2)
    gain = np.linalg.solve(covariance, system.residual)
    values = np.zeros(terms.count)
    values[rates] = system.mean[rates] + system.spread[rates] ** 2 * (
        system.matrix[:, rates].T @ gain
    )
    return np.maximum(terms.crossings_ms(np.maximum(values, 0.0)), CROSSING_FLOOR_MS)


def _most_likely(terms: Terms, system: _System, settings: dict[str, float]) -> dict[str, float]:
    """The settings of `TRIED` that make the measurements most likely, one setting after another."""
    general = system.covariance(terms.general)
    factors = system.covariance(np.arange(terms.factors))
    crossings = system.covariance(terms.crossing.ravel())
    residual = system.residual

    @cache
    def likelihood(**tried: float) -> float:
        covariance = general + tried["layers"] ** 2 * factors + tried["crossings"] ** 2 * crossings
        covariance += np.diag(system.errors_ms(tried["noise"]) ** 2)
        root = np.linalg.cholesky(covariance)
        scaled = _solve_lower(root, residual)
        return float(-0.5 * scaled @ scaled - np.log(np.diag(root)).sum())

    for _ in range(SWEEPS):
        for name in ("noise", "layers", "crossings"):
            values = {value: likelihood(**settings | {name: value}) for value in TRIED[name]}
            settings = settings | {name: max(values, key=lambda value: values[value])}
    return settings


def _hold_at_zero(terms: Terms, system: _System, noise: float) -> Belief:
    """The posterior, with costs that would be less than nothing held at zero.

    A rate is held by a prior without spread, a single crossing by an equation of its own.
    """
    errors_ms = system.errors_ms(noise)
    belief = free = _posterior(terms, system, errors_ms, noise)
    for _ in range(HOLDS):
        rates = terms.rate.ravel()
        low = rates[belief.mean[rates] < 0]
        rows = _crossings_below_zero(terms, system, belief)
        if not len(low) and not len(rows):
            break
        system.mean[low] = system.spread[low] = 0.0
        system.matrix = np.vstack([system.matrix, rows])
        system.target = np.append(system.target, np.zeros(len(rows)))
        system.doubt = np.append(system.doubt, np.ones(len(rows)))
        errors_ms = np.append(errors_ms, np.full(len(rows), ZERO_MS))
        belief = _posterior(terms, system, errors_ms, noise)
    return replace(belief, rate_spread=free.rate_spread)


def _crossings_below_zero(terms: Terms, system: _System, belief: Belief) -> NDArray[np.float64]:
    """The equations of crossings that were measured and came out below zero (n, columns)."""
    measured = system.matrix[:, terms.crossing.ravel()].any(axis=0).reshape(terms.crossing.shape)
    low = np.argwhere(measured & (terms.crossings_ms(belief.mean) < -ZERO_MS))
    rows = np.zeros((len(low), terms.count))
    for row, (way, t, domain) in zip(rows, low.tolist(), strict=True):
        terms.add_crossing(row, way, t, domain)
    return rows


def _posterior(
    terms: Terms, system: _System, errors_ms: NDArray[np.float64], noise: float
) -> Belief:
    scaled = system.matrix * system.spread
    used = scaled.any(axis=0)  # most crossings of a large network were never measured
    some = scaled[:, used]
    root = np.linalg.cholesky(some @ some.T + np.diag(errors_ms**2))
    explained = np.zeros_like(scaled)
    explained[:, used] = _solve_lower(root, some)
    gain = explained.T @ _solve_lower(root, system.residual)
    return Belief(
        terms=terms,
        mean=system.mean + system.spread * gain,
        spread=system.spread,
        noise=noise,
        rate_spread=posterior_spread(system.spread, explained)[terms.rate],
        explained=explained,
    )


def _solve_lower(root: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    from scipy.linalg import solve_triangular

    solved = solve_triangular(root, right, lower=True, check_finite=False)
    return np.asarray(solved, dtype=np.float64)
