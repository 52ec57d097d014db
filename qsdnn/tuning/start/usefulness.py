"""The bound of usefulness: which uniform plans can still make a plan of the search faster.

An engine that was looked at has shown the time of each layer as the engine itself would run it. An
algorithm of its own choosing beside it is assumed to be at most `GAIN` times as fast. Where that is
slower, layer by layer, than what another engine has shown, the algorithm is not worth its time.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qsdnn.space import Space
from qsdnn.tuning.config import WORTH
from qsdnn.tuning.trial import Trial, collect

GAIN = 1.2
"""The factor by which an algorithm is at most faster than what its engine takes by itself, over all
layers together: of twelve networks, no algorithm of onnxruntime, OpenVINO or ncnn made a plan more
than 0.7 % faster than the rest could, though single layers gained up to 1.8 times."""


def useful(space: Space, trials: Mapping[str, Trial], names: Sequence[str]) -> list[str]:
    """The uniform plans whose primitive may gain `WORTH`, or of whose engine nothing is known.

    Args:
        space: The search space: the layers and what each may run as.
        trials: The trials of uniform plans so far, by name.
        names: The names of the uniform plans in question.

    Returns:
        Those of the names, in their order.
    """
    layer_ms = collect(space, trials).layer_ms
    fastest_ms = min((trial.latency_ms for trial in trials.values()), default=np.inf)
    if not np.isfinite(fastest_ms):
        return list(names)
    named = {str(primitive): index for index, primitive in enumerate(space.primitives)}
    best_ms = _least(layer_ms)
    found = []
    for name in names:
        primitive = space.primitives[named[name]]
        kind = (primitive.engine, primitive.precision)
        alike = [i for i, p in enumerate(space.primitives) if (p.engine, p.precision) == kind]
        hoped_ms = np.nan_to_num(_least(layer_ms[:, alike]) / GAIN)  # where unknown, no time at all
        gain_ms = np.where(space.mask[:, named[name]], np.maximum(best_ms - hoped_ms, 0.0), 0.0)
        if float(np.nansum(gain_ms)) >= WORTH * fastest_ms:
            found.append(name)
    return found


def _least(layer_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least time of each layer (layers,); NaN where none is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of rows without a number
        return np.asarray(np.nanmin(layer_ms, axis=1))
