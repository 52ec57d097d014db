"""Fit: from a profile and the times of measured segments to a cost model.

Every measured segment is one linear equation: its layers' times, plus what it costs to take tensors
in and to hand tensors out. Two non-negative least-squares problems are solved, each with its prior
as further equations (ridge regression around the prior):

1. *Rates.* The unknowns are a factor on each profiled layer time, 1 a priori, and for each family
   what a crossing costs in each direction: a constant, a rate per KiB, and a further rate per KiB
   where a layer that computes (convolution, matrix product) stands at the boundary. Such layers
   often want a layout of their own, others take the tensor as it comes.
2. *Crossings.* The rates give every single crossing (edge, family, direction) a prior; a factor on
   each is fitted to what was measured, since no two boundaries are quite alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsdnn.cost.model import CostModel
from qsdnn.space import Space

FACTOR_SPREAD = 0.15
"""How far a layer's time in another context is from its profiled one, relative, a priori."""

NOISE, NOISE_MS = 0.02, 0.003
"""Error of a measured segment time: relative, as shared machines repeat a median, and its floor."""

RATES_MS = ((0.005, 0.2), (0.0001, 0.002), (0.0, 0.002))
"""Prior mean and spread of a crossing's constant (a call), rate per KiB (a copy at 10 GB/s), and
further rate per KiB at a computing layer. Wide: a few measurements decide."""

CROSSING_SPREAD = 0.5
"""How far a single crossing is from what the rates say, relative, a priori."""

CROSSING_FLOOR_MS = 0.005
"""The least prior of a crossing, so that a factor on it can express anything."""

Term = tuple[str, int, int]
"""An unknown: ``layer`` with layer and primitive; ``enter`` or ``leave`` with family and rate, or
with edge and family."""

Row = Mapping[Term, float]
Prior = Callable[[Term], tuple[float, float]]


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
    target = np.array([o.ms for o in observations], dtype=float)
    enter, leave = _rates(space, profile_ms, observations, target)
    enter = np.maximum(enter, CROSSING_FLOOR_MS)
    leave = np.maximum(leave, CROSSING_FLOOR_MS)
    rows: list[Row] = [
        _layer_terms(o, profile_ms)
        | {("enter", t, o.family): float(enter[t, o.family]) for t in o.entering}
        | {("leave", t, o.family): float(leave[t, o.family]) for t in o.leaving}
        for o in observations
    ]
    factors = _solve(
        rows, target, lambda key: (1.0, FACTOR_SPREAD if _is_layer(key) else CROSSING_SPREAD)
    )
    model = CostModel(
        space=space,
        layer_ms=np.where(space.mask, profile_ms, np.inf),
        enter_ms=enter,
        leave_ms=leave,
    )
    tables = {"layer": model.layer_ms, "enter": enter, "leave": leave}
    for (table, row, column), factor in factors.items():
        tables[table][row, column] *= factor
    return model


def _rates(
    space: Space,
    profile_ms: NDArray[np.float64],
    observations: Sequence[Observation],
    target: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each crossing costs by its family, size and neighbour: (edges, families) in and out."""
    entering, leaving = _crossing_features(space)
    rows: list[Row] = [
        _layer_terms(o, profile_ms)
        | dict(_rate_terms("enter", o.family, entering[list(o.entering)]))
        | dict(_rate_terms("leave", o.family, leaving[list(o.leaving)]))
        for o in observations
    ]
    solution = _solve(
        rows,
        target,
        lambda key: (1.0, FACTOR_SPREAD) if _is_layer(key) else RATES_MS[key[2]],
    )

    def crossings(way: str, features: NDArray[np.float64]) -> NDArray[np.float64]:
        rates = [
            [solution.get((way, family, i), mean) for i, (mean, _) in enumerate(RATES_MS)]
            for family in range(len(space.families))
        ]
        return np.asarray(features @ np.array(rates).T)

    return crossings("enter", entering), crossings("leave", leaving)


def _crossing_features(space: Space) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(edges, 3) for each direction: 1, KiB, and KiB where a computing layer is at the boundary."""
    computes = space.computes
    kib = np.array([edge.size_bytes / 1024 for edge in space.edges], dtype=float)
    reader = np.array([any(computes[c] for c in e.consumers) for e in space.edges], dtype=float)
    maker = np.array([computes[edge.producer] for edge in space.edges], dtype=float)
    one = np.ones_like(kib)
    return (
        np.stack([one, kib, kib * reader], axis=1),
        np.stack([one, kib, kib * maker], axis=1),
    )


def _layer_terms(o: Observation, profile_ms: NDArray[np.float64]) -> dict[Term, float]:
    return {
        ("layer", layer, primitive): float(profile_ms[layer, primitive])
        for layer, primitive in zip(o.layers, o.primitives, strict=True)
    }


def _rate_terms(way: str, family: int, features: NDArray[np.float64]) -> list[tuple[Term, float]]:
    return [((way, family, i), float(total)) for i, total in enumerate(features.sum(axis=0))]


def _is_layer(key: Term) -> bool:
    return key[0] == "layer"


def _solve(rows: Sequence[Row], target: NDArray[np.float64], prior: Prior) -> dict[Term, float]:
    """The x ≥ 0 of least Σ ((row·x − target) / noise)² + Σ ((x − mean) / spread)².

    Args:
        rows: Coefficients by unknown, one equation each.
        target: (rows,) right-hand sides, in ms.
        prior: Mean and spread of an unknown.
    """
    from scipy.optimize import nnls

    if not rows:
        return {}  # nnls ends the process on an empty matrix
    keys = list(dict.fromkeys(key for row in rows for key in row))
    column = {key: i for i, key in enumerate(keys)}
    mean, spread = np.array([prior(key) for key in keys], dtype=float).reshape(-1, 2).T
    matrix = np.zeros((len(rows), len(keys)))
    for line, row in zip(matrix, rows, strict=True):
        for key, coefficient in row.items():
            line[column[key]] = coefficient
    scale = 1.0 / (NOISE * target + NOISE_MS)
    system = np.vstack([matrix * scale[:, None] * spread, np.eye(len(keys))])
    solution, _ = nnls(system, np.concatenate([target * scale, mean / spread]))
    return dict(zip(keys, (solution * spread).tolist(), strict=True))
