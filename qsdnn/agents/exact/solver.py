"""The optimum of a cost model, proven."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.base import Agent, Episode, Policy
from qsdnn.agents.exact.relaxation import Relaxation, relax
from qsdnn.agents.exact.trellis import ROUNDING, Sweep, sweep
from qsdnn.agents.experience import CANDIDATES, Experience
from qsdnn.cost.model import CostModel
from qsdnn.cost.walk import Walk

NARROW = 4096
"""The width of the first sweep: wide enough for most networks, and soon done."""

RAISE = 4.0
"""The factor by which the limit above the optimum is raised when too few plans are within it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact(Agent):
    """Branch and bound over the layers, with merging: the best plans, or a bound on them.

    1. A linear program gives a lower bound on every plan, and on the rest of every half-made one:
       see `qsdnn.agents.exact.relaxation`.
    2. A narrow sweep over the layers keeps the most promising partial plans: see
       `qsdnn.agents.exact.trellis`. If no better plan can have been dropped, that is all.
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
