"""Plans that may take little memory: which to try, before any of them is measured.

A process that runs a plan holds the interpreter, the libraries of the engines it uses, and the
layers' weights, as each precision keeps them. That much is a sum, fitted to the plans measured so
far; what an engine allocates besides is seen when the plan is measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.exact.solver import Exact
from qsdnn.cost.model import CostModel
from qsdnn.primitive import Precision
from qsdnn.space import Space
from qsdnn.tuning.limits.constraint import Constraint
from qsdnn.tuning.trial import Trial

Choice = NDArray[np.int64]

MOST = 8
"""The number of plans to try."""

DEAR = 1e3
"""The price of a layer's weights, so that latency decides only between precisions that keep them
alike: in times that the whole network takes, for all its weights."""

KEPT = {
    Precision.FP32: 1.0,
    Precision.TF32: 1.0,
    Precision.BF16: 0.5,
    Precision.FP16: 0.5,
    Precision.INT8: 0.25,
}
"""The memory of weights by precision, relative to fp32."""


def frugal_plans(
    cost: CostModel, constraint: Constraint, weights_mb: NDArray[np.float64], known: Sequence[Trial]
) -> list[Choice]:
    """The plans that were not measured and are predicted to take least memory, least first.

    There are, for each engine and for each two, the fastest plan that uses no other, and the one
    with the smallest weights; each is as near to that as the constraint allows.

    Args:
        cost: The cost model: latency in ms of every plan.
        constraint: The constraint that plans must keep.
        weights_mb: The size of each layer's weights in fp32 (layers,).
        known: The plans that were measured, with their memory.
    """
    space = cost.space
    seen = {trial.key for trial in known}
    kept = np.array([KEPT[p.precision] for p in space.primitives])
    price = DEAR * float(np.nanmin(np.where(space.mask, cost.layer_ms, np.nan), axis=1).sum())
    heavy = price * np.outer(weights_mb / max(float(weights_mb.sum()), 1e-9), kept)
    priced = constraint.price(cost)
    plans: dict[bytes, Choice] = {}
    for allowed in _masks(space):
        for extra in (np.zeros_like(heavy), heavy):
            best = Exact(plans=1).learn(_within(priced, allowed, extra)).choice
            for plan in constraint.near(_within(cost, allowed), best[None, :]):
                plans.setdefault(plan.tobytes(), plan)
    fresh = [plan for key, plan in plans.items() if key not in seen]
    fresh = [plan for plan, good in zip(fresh, constraint.admits(fresh), strict=True) if good]
    if not fresh:
        return []
    predicted_mb = _predicted_mb(space, weights_mb, known, np.array(fresh))
    return [fresh[i] for i in np.argsort(predicted_mb, kind="stable")[:MOST]]


def _masks(space: Space) -> list[NDArray[np.bool_]]:
    """The masks of what layers may take of one engine or of two, where these run all layers."""
    of = np.array([p.engine for p in space.primitives])
    names = list(dict.fromkeys(of.tolist()))
    sets = [some for size in (1, 2) for some in combinations(names, size)]
    masks = [space.mask & np.isin(of, some) for some in sets]
    return [mask for mask in masks if mask.any(axis=1).all()]


def _within(
    cost: CostModel, allowed: NDArray[np.bool_], extra: NDArray[np.float64] | float = 0.0
) -> CostModel:
    """The cost model of fewer primitives, and with extra costs for some."""
    return dataclasses.replace(
        cost,
        space=dataclasses.replace(cost.space, mask=allowed),
        layer_ms=np.where(allowed, cost.layer_ms + extra, np.inf),
    )


def _predicted_mb(
    space: Space, weights_mb: NDArray[np.float64], known: Sequence[Trial], plans: Choice
) -> NDArray[np.float64]:
    """The memory of plans (n,), by non-negative least squares on what was measured."""
    from scipy.optimize import nnls

    weighed = [trial for trial in known if trial.ok and trial.record.peak_memory_mb is not None]
    if not weighed:
        return np.zeros(len(plans))
    rows = _features(space, weights_mb, np.array([trial.choice for trial in weighed]))
    factors, _ = nnls(rows, np.array([trial.record.peak_memory_mb for trial in weighed]))
    return np.asarray(_features(space, weights_mb, plans) @ factors)


def _features(space: Space, weights_mb: NDArray[np.float64], plans: Choice) -> NDArray[np.float64]:
    """The features of plans (n, …): one, whether each engine is used, and its weights in MB."""
    of = np.array([p.engine for p in space.primitives])[plans]
    kept = np.array([KEPT[p.precision] for p in space.primitives])[plans] * weights_mb
    columns = [np.ones(len(plans))]
    for name in dict.fromkeys(p.engine for p in space.primitives):
        mine = of == name
        columns += [mine.any(axis=1).astype(float), np.where(mine, kept, 0.0).sum(axis=1)]
    return np.stack(columns, axis=1)
