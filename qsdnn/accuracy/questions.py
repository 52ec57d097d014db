"""Sensitivity: what each layer alone loses in less than fp32, and what time it would save."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsdnn.accuracy.noise import kinds_of
from qsdnn.primitive import Precision
from qsdnn.space import Space

UNKNOWN_MS = 1e6
"""Stand-in in ms for a time that is not known: any known one is less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One layer in less than fp32, all others in fp32.

    Attributes:
        layer: The index of the layer.
        primitive: The index of the primitive that the layer runs as.
        plan: The primitive indices of all layers (layers,).
        saved_ms: The profiled time that the layer itself saves against fp32; NaN where unknown.
    """

    layer: int
    primitive: int
    plan: NDArray[np.int64]
    saved_ms: float


def questions(space: Space, layer_ms: NDArray[np.float64]) -> list[Question]:
    """Every layer in each engine and precision that it may take, the most time saved first.

    Of an engine's algorithms the fastest is asked about: they round alike. The other layers run in
    fp32 in the same engine, where it has them, so that nothing but the layer changes.

    Args:
        space: The search space: the layers and what each may run as.
        layer_ms: The profiled times (layers, primitives); not finite where unknown.
    """
    kinds, count = kinds_of(space)
    time_ms = np.where(space.mask & np.isfinite(layer_ms), layer_ms, np.inf)
    asked = []
    for kind in range(count):
        mine = np.flatnonzero(kinds == kind)
        base = fp32_plan(space, space.primitives[int(mine[0])].engine, time_ms)
        for layer in np.flatnonzero(space.mask[:, mine].any(axis=1)).tolist():
            options = mine[space.mask[layer, mine]]
            primitive = int(options[time_ms[layer, options].argmin()])
            plan = base.copy()
            plan[layer] = primitive
            pair_ms = time_ms[layer, [base[layer], primitive]]
            saved_ms = float(pair_ms[0] - pair_ms[1]) if np.isfinite(pair_ms).all() else math.nan
            asked.append(Question(layer=layer, primitive=primitive, plan=plan, saved_ms=saved_ms))
    return sorted(asked, key=lambda q: math.inf if math.isnan(q.saved_ms) else -q.saved_ms)


def fp32_plan(space: Space, engine: str, time_ms: NDArray[np.float64]) -> NDArray[np.int64]:
    """The fastest fp32 primitive of each layer (layers,): of an engine where possible, else any."""
    exact = np.array([p.precision is Precision.FP32 for p in space.primitives])
    away = np.array([p.engine != engine for p in space.primitives])
    rank = np.minimum(time_ms, UNKNOWN_MS) + 2 * UNKNOWN_MS * away
    return np.asarray(np.where(space.mask & exact, rank, np.inf).argmin(axis=1), dtype=np.int64)
