"""The bound of usefulness: which uniform plans can still make a plan of the search faster.

An engine that was looked at has shown the time of each layer as the engine itself would run it.
Other algorithms of an engine that is behind are no use. One of an engine that is not is hoped to be
`GAIN` times as fast as what the engine takes by itself. What a network could gain by that at the
most, where tensors pass between engines as cheaply as can be, is a bound on what measuring the
algorithm is worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.exact.relaxation import relax
from qsdnn.cost.model import CostModel
from qsdnn.primitive import Precision
from qsdnn.space import Space
from qsdnn.tuning.config import WORTH
from qsdnn.tuning.start.uniform import Kind, kind_of
from qsdnn.tuning.trial import Trial, collect

BEHIND = 1.15
"""The factor of the fastest engine's time from which an engine is behind: of twelve networks, no
algorithm of onnxruntime, OpenVINO or ncnn made a plan more than 0.7 % faster than the rest could
where another engine was so much faster."""

GAIN = 1.2
"""The factor by which an algorithm is at most faster than what its engine takes by itself, over all
layers together, though single layers gained up to 1.8 times."""

HANDOVER_MS = 0.0025
"""The least time in which a tensor is handed out of a segment, or into one: calling an engine on
what is bound already takes 5 to 20 µs."""

BYTES_A_MS = 50e6
"""The bytes that are read and written in a millisecond at the most where a tensor is converted:
what a core copies within its second cache."""


def useful(space: Space, trials: Mapping[str, Trial], names: Sequence[str]) -> list[str]:
    """The uniform plans whose primitive may gain `WORTH`, or of whose engine nothing is known.

    What is faster in a reduced precision makes nothing useless in another one: how accurate a plan
    must be may forbid the faster.

    Args:
        space: The search space: the layers and what each may run as.
        trials: The trials of uniform plans so far, by name.
        names: The names of the uniform plans in question.

    Returns:
        Those of the names, in their order.
    """
    found: list[str] = []
    for precision in dict.fromkeys(kind_of(name)[1] for name in names):
        among = (Precision.FP32, precision)
        beside = {name: trial for name, trial in trials.items() if kind_of(name)[1] in among}
        found += _useful(space, beside, [name for name in names if kind_of(name)[1] is precision])
    return [name for name in names if name in found]


def _useful(space: Space, trials: Mapping[str, Trial], names: Sequence[str]) -> list[str]:
    measured_ms = collect(space, trials).layer_ms
    known_ms = np.where(space.mask & np.isfinite(measured_ms), measured_ms, np.inf)
    if not np.isfinite(known_ms.min(axis=1)).all():
        return list(names)
    names_of = [str(primitive) for primitive in space.primitives]
    took_ms = {
        kind: min(_latencies_ms(trials, kind)) for kind in {kind_of(name) for name in trials}
    }
    behind_ms = BEHIND * min(took_ms.values(), default=0.0)
    least_ms = lower_bound_ms(space, known_ms)
    found = []
    for name in names:
        if behind_ms < took_ms.get(kind_of(name), 0.0) < np.inf:
            continue
        index = names_of.index(name)
        alike = [i for i, other in enumerate(names_of) if kind_of(other) == kind_of(name)]
        default_ms = known_ms[:, alike].min(axis=1)
        if not np.isfinite(default_ms).any():
            found.append(name)
            continue
        hoped_ms = known_ms.copy()
        may = space.mask[:, index]
        of_engine = np.where(np.isfinite(default_ms), default_ms / GAIN, 0.0)
        hoped_ms[may, index] = np.minimum(known_ms[may, index], of_engine[may])
        if lower_bound_ms(space, hoped_ms) < (1 - WORTH) * least_ms:
            found.append(name)
    return found


def _latencies_ms(trials: Mapping[str, Trial], kind: Kind) -> list[float]:
    """The latencies in ms of an engine's uniform plans; infinite where one ended badly."""
    return [trial.latency_ms for name, trial in trials.items() if kind_of(name) == kind]


def lower_bound_ms(space: Space, layer_ms: NDArray[np.float64]) -> float:
    """The latency in ms below which there is no plan, however cheap it is to change engines.

    Args:
        space: The search space.
        layer_ms: The time of each layer in each primitive (layers, primitives); infinite where it
            is not to be taken.
    """
    size_bytes = np.array([edge.size_bytes for edge in space.edges], float).reshape(-1, 1)
    convert_ms = size_bytes / BYTES_A_MS
    count = len(space.domains)
    shared = space.holds[count:].any(axis=0)
    domains_ms = np.where(shared, HANDOVER_MS, HANDOVER_MS + convert_ms)
    layouts_ms = np.repeat(convert_ms, len(space.labels) - count, axis=1)
    crossing_ms = np.hstack([domains_ms.reshape(-1, count), layouts_ms])
    cost = CostModel(space=space, layer_ms=layer_ms, leave_ms=crossing_ms, enter_ms=crossing_ms)
    return relax(cost).lower_ms
