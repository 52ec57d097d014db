"""Fit: from a profile and the times of measured segments to a cost model.

The unknowns are a factor on each profiled layer time (its prior is 1: the profile was made in
context, but in another one) and, for each family, what it costs to take a tensor in and to hand one
out: a constant and a rate per KiB. Every measured segment is one linear equation in them, so they
come from one non-negative least-squares problem with the prior as further rows (ridge regression
around the profile).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsdnn.cost.model import CostModel
from qsdnn.space import Space

FACTOR_SPREAD = 0.15
"""How far a layer's time in another context is from its profiled one, relative, a priori."""

NOISE = 0.02
"""Relative error of a measured segment time: shared machines repeat a median to about this."""

NOISE_MS = 0.003
"""Its floor: the clock and the call."""

BOUNDARY_PRIOR_MS = (0.005, 0.0001)
"""What a boundary costs before any was measured: a call, and a copy at 10 GB/s, per KiB."""

BOUNDARY_SPREAD_MS = (0.2, 0.002)
"""How far from that it may well be: wide, so that few measurements decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One measured segment.

    Attributes:
        family: Index of its family.
        layers: Layer indices.
        primitives: Primitive index of each.
        entering: Indices of the edges it takes in.
        leaving: Indices of the edges it hands out.
        ms: Its time.
    """

    family: int
    layers: tuple[int, ...]
    primitives: tuple[int, ...]
    entering: tuple[int, ...]
    leaving: tuple[int, ...]
    ms: float


def fit(
    space: Space, profile_ms: NDArray[np.float64], observations: Sequence[Observation]
) -> CostModel:
    """The cost model that explains the observations and stays near the profile.

    Args:
        space: What can be chosen.
        profile_ms: (layers, primitives) profiled times, scaled to the unprofiled latency; NaN or
            infinite where nothing was profiled.
        observations: Segments of uniform and mixed plans.
    """
    columns = sorted(
        {pair for o in observations for pair in zip(o.layers, o.primitives, strict=True)}
    )
    index = {pair: i for i, pair in enumerate(columns)}
    prior = np.array([profile_ms[pair] for pair in columns], dtype=float)
    kib = np.array([edge.size_bytes / 1024 for edge in space.edges], dtype=float)

    rows = np.zeros((len(observations), len(columns) + 4 * len(space.families)))
    for row, o in zip(rows, observations, strict=True):
        for pair in zip(o.layers, o.primitives, strict=True):
            row[index[pair]] = prior[index[pair]]
        at = len(columns) + 4 * o.family
        row[at : at + 4] = (
            len(o.entering), kib[list(o.entering)].sum(),
            len(o.leaving), kib[list(o.leaving)].sum(),
        )  # fmt: skip
    target = np.array([o.ms for o in observations], dtype=float)

    mean = np.concatenate(
        [np.ones(len(columns)), np.tile(BOUNDARY_PRIOR_MS, 2 * len(space.families))]
    )
    spread = np.concatenate(
        [np.full(len(columns), FACTOR_SPREAD), np.tile(BOUNDARY_SPREAD_MS, 2 * len(space.families))]
    )
    solution = _non_negative(rows, target, mean, spread)
    layer_ms = np.where(space.mask, profile_ms, np.inf)
    for pair, factor in zip(columns, solution, strict=False):
        layer_ms[pair] = profile_ms[pair] * factor
    boundary = solution[len(columns) :].reshape(len(space.families), 4)
    return CostModel(
        space=space,
        layer_ms=layer_ms,
        enter_ms=boundary[:, 0] + np.outer(kib, boundary[:, 1]),
        leave_ms=boundary[:, 2] + np.outer(kib, boundary[:, 3]),
    )


def _non_negative(
    rows: NDArray[np.float64],
    target: NDArray[np.float64],
    mean: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The x ≥ 0 of least Σ ((rows·x − target) / noise)² + Σ ((x − mean) / spread)²."""
    from scipy.optimize import nnls

    scale = 1.0 / (NOISE * target + NOISE_MS)
    matrix = np.vstack([rows * scale[:, None] * spread, np.eye(len(mean))])
    solution, _ = nnls(matrix, np.concatenate([target * scale, mean / spread]))
    return np.asarray(solution * spread)
