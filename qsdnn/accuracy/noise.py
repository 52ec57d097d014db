"""Noise: what a plan loses by computing in less than fp32, as a sum over its layers.

What quantization does to a layer's output is, to the network behind it, small noise that has
nothing to do with the noise of other layers. Such noises add up: the noise power at the network's
outputs, relative to the power of the outputs themselves, is the sum of what each layer alone causes
(Lin, Talathi, Annapureddy: Fixed point quantization of deep convolutional networks, ICML 2016,
section 3; Zhou et al.: Adaptive quantization for deep neural networks, AAAI 2018). Its logarithm is
the signal-to-quantization-noise ratio: SQNR = −10 log₁₀(noise) dB.

The sum is a first estimate, and every plan that was evaluated corrects it. What each layer alone
causes is asked by evaluating plans in which nothing else is in less than fp32 (`questions`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qsdnn.primitive import Precision
from qsdnn.space import Space

GUESSED, MEASURED = 3.0, 0.5
"""The standard deviation of a layer's noise, relative: of a guess, and of what the layer alone was
measured to cause."""

ERROR = 0.1
"""The standard deviation of a plan's noise from the sum over its layers, relative."""

FLOOR = 1e-12
"""The relative noise of fp32 in another engine, which is rounding alone."""

SHARE = {
    Precision.TF32: 1e-7,
    Precision.FP16: 1e-7,
    Precision.BF16: 1e-5,
    Precision.INT8: 1e-3,
}
"""The relative noise of a whole network, where nothing is known: about 70, 70, 50 and 30 dB."""


def noise_of(sqnr_db: float) -> float:
    """The noise power over the signal power, from an SQNR in dB; at least `FLOOR`."""
    return max(10 ** (-sqnr_db / 10), FLOOR)


def sqnr_db_of(noise: float) -> float:
    """The signal-to-quantization-noise ratio in dB, from a noise power over the signal power."""
    return -10 * math.log10(max(noise, FLOOR))


@dataclass(frozen=True, kw_only=True)
class NoiseModel:
    """Predicts the noise of plans.

    Attributes:
        space: The search space: the layers and what each may run as.
        power: The noise (layers, primitives) that a layer's choice causes at the outputs, relative
            to their power; 0 in fp32.
    """

    space: Space
    power: NDArray[np.float64] = field(repr=False)

    def predict(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        """The predicted noise of plans (n,), relative to the power of the outputs.

        Args:
            choices: The plans as primitive indices (n, layers).
        """
        layers = np.arange(len(self.space.layers))
        return np.asarray(FLOOR + self.power[layers, np.atleast_2d(choices)].sum(axis=1))


def kinds_of(space: Space) -> tuple[NDArray[np.int64], int]:
    """The kind of noise that each primitive makes, and the number of kinds.

    Returns:
        The kinds (primitives,), −1 for no noise, else the index of the primitive's engine and
        precision: an engine's algorithms round alike; and the number of kinds.
    """
    names = [
        None if p.precision is Precision.FP32 else (p.engine, p.precision) for p in space.primitives
    ]
    kinds = [name for name in dict.fromkeys(names) if name is not None]
    return np.array([-1 if n is None else kinds.index(n) for n in names]), len(kinds)


def fit_noise(
    space: Space,
    alone: NDArray[np.float64],
    plans: Sequence[NDArray[np.int64]] = (),
    noise: Sequence[float] = (),
) -> NoiseModel:
    """Estimates each layer's noise from measurements of layers alone and of whole plans.

    Non-negative least squares of the factors on a first estimate, which is also the factors' prior.

    Args:
        space: The search space: the layers and what each may run as.
        alone: The noise (layers, primitives) of each layer alone, where it was measured; else NaN.
        plans: The plans that were evaluated, each (layers,).
        noise: The noise of each of those plans.
    """
    from scipy.optimize import nnls

    kinds, count = kinds_of(space)
    first, spread = _first_estimate(space, alone, kinds, count)
    layers = len(space.layers)
    rows = [np.append(np.diag(1 / spread.ravel()), (1 / spread).reshape(-1, 1), axis=1)]
    for plan, seen in zip(plans, noise, strict=True):
        row = np.zeros((layers, count))
        chosen = kinds[plan]
        lossy = np.flatnonzero(chosen >= 0)
        row[lossy, chosen[lossy]] = first[lossy, chosen[lossy]]
        weight = 1 / (ERROR * max(seen, FLOOR))
        rows.append(np.append(weight * row.ravel(), weight * max(seen, FLOOR))[None, :])
    system = np.concatenate(rows)
    factors = np.ones((layers, 0))
    if count:
        factors = nnls(system[:, :-1], system[:, -1])[0].reshape(layers, count)
    power = np.zeros(space.mask.shape)
    lossy = np.flatnonzero(kinds >= 0)
    power[:, lossy] = (first * factors)[:, kinds[lossy]]
    return NoiseModel(space=space, power=power)


def _first_estimate(
    space: Space, alone: NDArray[np.float64], kinds: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The noise (layers, kinds), and how far from it the truth may be, relative.

    A layer that was not measured in an engine gets its noise in another engine with that precision,
    else the typical layer's, else its share of a usual network's noise.
    """
    layers = len(space.layers)
    first, spread = np.full((layers, count), np.nan), np.full((layers, count), GUESSED)
    precisions = [space.primitives[int(np.flatnonzero(kinds == k)[0])].precision
                  for k in range(count)]  # fmt: skip
    for kind in range(count):
        columns = np.flatnonzero(kinds == kind)
        for layer in range(layers):
            seen = alone[layer, columns][np.isfinite(alone[layer, columns])]
            if len(seen):
                first[layer, kind], spread[layer, kind] = max(seen.mean(), FLOOR), MEASURED
    known = first.copy()
    for kind, precision in enumerate(precisions):
        like = [k for k in range(count) if precisions[k] is precision]
        for layer in np.flatnonzero(np.isnan(known[:, kind])).tolist():
            others = known[layer, like][np.isfinite(known[layer, like])]
            typical = known[:, like][np.isfinite(known[:, like])]
            if len(others):
                first[layer, kind] = others.mean()
            elif len(typical):
                first[layer, kind] = np.median(typical)
            else:
                first[layer, kind] = SHARE[precision] / layers
    return first, spread


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
