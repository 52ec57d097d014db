"""The optimum of a cost model, proven: branch and bound on a trellis.

The trellis holds partial plans, layer by layer, merged where their futures cost the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.base import Agent, Episode, Policy
from qsdnn.agents.exact.relaxation import Relaxation, relax
from qsdnn.agents.experience import CANDIDATES, Experience
from qsdnn.cost.model import CostModel
from qsdnn.cost.walk import Frontier, Walk

NARROW = 4096
"""The width of the first sweep: wide enough for most networks, and soon done."""

RAISE = 4.0
"""The factor by which the limit above the optimum is raised when too few plans are within it."""

ROUNDING = 1e-9
"""The relative tolerance of a limit: a plan dearer by less is not dropped, as sums are rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact(Agent):
    """Branch and bound over the layers, with merging: the best plans, or a bound on them.

    1. A linear program gives a lower bound on every plan, and on the rest of every half-made one:
       see `qsdnn.agents.exact.relaxation`.
    2. A narrow sweep over the layers keeps the most promising partial plans: see
       `sweep`. If no better plan can have been dropped, that is all.
    3. A wide sweep does the same among the partial plans whose bound does not exceed the latency
       of the worst plan wanted. Where even this drops some, the least bound among them is a lower
       bound on what was missed.

    Selecting primitives with costs between neighbours is a partitioned boolean quadratic problem,
    and NP-hard (Anderson, Gregg: CGO 2018). The usual reductions (Hames, Scholz: JMLC 2006) remove
    a layer with at most two neighbours; a tensor with several readers ties more layers together
    than two. Merging by frontiers, a bucket elimination in topological order (Dechter: Artificial
    Intelligence 113, 1999), is exact for such tensors too. It is exponential in the number of open
    tensors, and the bounds leave little of that.

    Attributes:
        plans: The number of plans to find. They are the best of all when the first is `proven`,
            unless there was no room for them all.
        max_reads: The number of later readers of open tensors that a sweep looks at, in all partial
            plans: time is proportional, about 10 s for 100 million, and so is memory, about 1 GB.
    """

    name = "exact"
    plans: int = CANDIDATES
    max_reads: int = 100_000_000

    def learn(
        self,
        cost: CostModel,
        *,
        episodes: int = 1,
        seed: int = 0,
        on_episode: Callable[[Episode], None] | None = None,
    ) -> Policy:
        """Finds the best plans, as one episode; `episodes` and `seed` change nothing.

        Raises:
            InputError: The space has more domains than `qsdnn.cost.walk.MAX_DOMAINS`.
        """
        experience = Experience(on_episode)
        candidates, bound_ms = self._solve(Walk(cost=cost))
        latency_ms = cost.predict(candidates[0])
        proven = bound_ms >= latency_ms - ROUNDING * abs(latency_ms)
        experience.see(candidates[:1], np.array([latency_ms]))
        return replace(
            experience.policy(),
            candidates=candidates,
            proven=proven,
            bound_ms=latency_ms if proven else bound_ms,
        )

    def _solve(self, walk: Walk) -> tuple[NDArray[np.int64], float]:
        """The best plans, and a lower bound in ms on the best of all."""
        relaxation = relax(walk.cost)
        wide = self.max_reads // (len(walk.stops) + _reads(walk))
        narrow = min(NARROW, wide)
        best = Sweep(
            plans=relaxation.plan[None, :],
            latency_ms=np.array([walk.cost.predict(relaxation.plan)]),
            dropped_ms=np.inf,
        )
        bound_ms = relaxation.lower_ms
        for width in (narrow, wide):
            if not _reached(best, bound_ms):
                limit_ms = float(best.latency_ms[0])
                found = sweep(walk, relaxation, count=1, width=width, limit_ms=limit_ms)
                best, bound_ms = _merged(best, found, 1), max(bound_ms, found.dropped_ms)
        return self._more(walk, relaxation, best, narrow).plans, bound_ms

    def _more(self, walk: Walk, relaxation: Relaxation, best: Sweep, width: int) -> Sweep:
        """The next best plans too: those within a limit, which is raised until enough are found."""
        regret_ms = relaxation.regret_ms
        wanted = min(self.plans, math.prod(np.isfinite(regret_ms).sum(axis=1).tolist()))
        latency_ms = float(best.latency_ms[0])
        # About what the last of so many changes of one layer costs, if the bound tells it well.
        nearest = np.sort(regret_ms[np.isfinite(regret_ms)])[: len(regret_ms) + wanted]
        above_ms = latency_ms - relaxation.lower_ms + max(nearest[-1], ROUNDING * abs(latency_ms))
        while len(best.plans) < wanted:
            limit_ms = latency_ms + above_ms
            found = sweep(walk, relaxation, count=wanted, width=width, limit_ms=limit_ms)
            best = _merged(best, found, wanted)
            above_ms *= RAISE
        return best


def _reads(walk: Walk) -> int:
    """The number of readers that the open tensors still have, summed over the layers."""
    edges = walk.space.edges
    return sum(consumer - edge.producer for edge in edges for consumer in set(edge.consumers))


def _reached(best: Sweep, bound_ms: float) -> bool:
    """Whether the best plan is as fast as the bound, but for the rounding of sums."""
    return bound_ms >= float(best.latency_ms[0] - ROUNDING * abs(best.latency_ms[0]))


def _merged(one: Sweep, other: Sweep, count: int) -> Sweep:
    """The best `count` plans of two sweeps together."""
    plans, first = np.unique(np.concatenate([one.plans, other.plans]), axis=0, return_index=True)
    latency_ms = np.concatenate([one.latency_ms, other.latency_ms])[first]
    order = np.argsort(latency_ms, kind="stable")[:count]
    return Sweep(plans=plans[order], latency_ms=latency_ms[order], dropped_ms=other.dropped_ms)


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
