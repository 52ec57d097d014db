"""Noise: what a plan loses by computing in less than fp32, as a sum over its layers.

What quantization does to a layer's output is, to the network behind it, small noise that has
nothing to do with the noise of other layers. Such noises add up: the noise power at the network's
outputs, relative to the power of the outputs themselves, is the sum of what each layer alone causes
(Lin, Talathi, Annapureddy: Fixed point quantization of deep convolutional networks, ICML 2016,
section 3; Zhou et al.: Adaptive quantization for deep neural networks, AAAI 2018). Its logarithm is
the signal-to-quantization-noise ratio: SQNR = −10 log₁₀(noise) dB.

The sum is a first estimate, and every plan that was evaluated corrects it.
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

SHARE = {Precision.FP16: 1e-7, Precision.BF16: 1e-5, Precision.INT8: 1e-3}
"""The relative noise of a whole network, where nothing is known: about 70, 50 and 30 dB."""


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
