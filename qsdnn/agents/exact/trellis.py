"""The trellis: partial plans, layer by layer, merged where their futures cost the same."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.exact.relaxation import Relaxation
from qsdnn.cost.walk import Frontier, Walk

ROUNDING = 1e-9
"""The relative tolerance of a limit: a plan dearer by less is not dropped, as sums are rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The plans that one pass over the layers found.

    Attributes:
        plans: The primitive indices of the plans found (k, layers), distinct, best first.
        latency_ms: The predicted latency of each of those plans (k,).
        dropped_ms: A lower bound of the plans that were dropped for lack of room; infinite when
            none was.
    """

    plans: NDArray[np.int64] = field(repr=False)
    latency_ms: NDArray[np.float64]
    dropped_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trace:
    """The way that each kept partial plan was reached: the plan before it, and the primitive."""

    parent: NDArray[np.int32]
    primitive: NDArray[np.int32]


def sweep(
    walk: Walk, relaxation: Relaxation, *, count: int, width: int, limit_ms: float = np.inf
) -> Sweep:
    """The best plans, by dynamic programming over the frontier with bounds.

    What a partial plan costs from some layer on depends on its frontier alone: for each tensor
    made and still to be read, the domain of its producer and the domains that it has entered. Of
    the partial plans with equal frontiers, only the cheapest `count` can be among the best.

    Args:
        walk: The compiled cost model.
        relaxation: The lower bounds of the cost model.
        count: The number of plans that are wanted.
        width: The number of partial plans looked at for each layer, about. Those with the least
            bounds are kept.
        limit_ms: The latency above which plans are of no interest.
    """
    limit_ms += ROUNDING * (abs(limit_ms) if np.isfinite(limit_ms) else 0.0)
    options = [
        _options(walk, relaxation, layer, count, limit_ms) for layer in range(len(walk.stops))
    ]
    frontier, total_ms = walk.start(1), np.zeros(1)
    traces: list[_Trace] = []
    dropped_ms = np.inf
    for layer, offered in enumerate(options):
        parent = np.repeat(np.arange(len(total_ms)), len(offered))
        actions = np.tile(offered, len(total_ms))
        frontier = frontier.take(parent)
        total_ms = total_ms[parent] + walk.step(frontier, layer, actions)
        bound_ms = total_ms + relaxation.ahead_ms(frontier, layer, walk.stops[layer])
        kept = np.flatnonzero(bound_ms <= limit_ms)
        kept = kept[_cheapest(_key(walk, layer, frontier.take(kept)), total_ms[kept], count)]
        room = max(count, width // len(options[min(layer + 1, len(options) - 1)]))
        if len(kept) > room:
            order = kept[np.argpartition(bound_ms[kept], room)]
            kept, dropped_ms = order[:room], min(dropped_ms, float(bound_ms[order[room]]))
        frontier, total_ms = frontier.take(kept), total_ms[kept]
        traces.append(
            _Trace(parent=parent[kept].astype(np.int32), primitive=actions[kept].astype(np.int32))
        )
    order = np.argsort(total_ms, kind="stable")
    return Sweep(plans=_retrace(traces, order), latency_ms=total_ms[order], dropped_ms=dropped_ms)


def _options(
    walk: Walk, relaxation: Relaxation, layer: int, count: int, limit_ms: float
) -> NDArray[np.int64]:
    """The primitives of a layer that some plan worth looking at may take.

    Of a domain's primitives only the cheapest `count` can be in the `count` best plans: to swap one
    for another of its domain changes nothing else. And a choice whose bound exceeds the limit is in
    no plan within the limit.
    """
    allowed = np.flatnonzero(walk.space.mask[layer])
    allowed = allowed[np.argsort(walk.cost.layer_ms[layer, allowed], kind="stable")]
    domains = walk.space.domain_of[allowed]
    rank = np.array([np.count_nonzero(domains[:i] == f) for i, f in enumerate(domains)])
    reduced_ms = relaxation.reduced_ms[layer]
    bound_ms = relaxation.lower_ms + reduced_ms[allowed] - reduced_ms.min()
    return np.asarray(allowed[(rank < count) & (bound_ms <= limit_ms)])


def _key(walk: Walk, layer: int, frontier: Frontier) -> NDArray[np.int64]:
    """A number for each frontier (n,), the same for equal frontiers only."""
    domains = len(walk.space.domains)
    key, size = np.zeros(len(frontier.domain), dtype=np.int64), 1
    for column in frontier.codes(domains)[:, walk.stops[layer].open].T:
        radix = int(column.max(initial=0)) + 1
        if size > 2**62 // radix:
            values, key = np.unique(key, return_inverse=True)
            size = len(values)
        key, size = key * radix + column, size * radix
    return key


def _cheapest(
    key: NDArray[np.int64], total_ms: NDArray[np.float64], count: int
) -> NDArray[np.intp]:
    """The indices of the cheapest `count` rows of each key."""
    order = np.lexsort((total_ms, key))
    later = np.ones(len(order), dtype=np.bool_)
    later[:count] = False
    later[count:] = key[order[count:]] == key[order[:-count]]
    return order[~later]


def _retrace(traces: list[_Trace], rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """The choices (n, layers) that led to some rows after the last layer."""
    plans = np.empty((len(rows), len(traces)), dtype=np.int64)
    at: NDArray[np.signedinteger] = rows
    for layer in range(len(traces) - 1, -1, -1):
        plans[:, layer] = traces[layer].primitive[at]
        at = traces[layer].parent[at]
    return plans
