"""The optimum of a cost model, by dynamic programming over the frontier."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents._base import Episode, Policy
from qsdnn.cost.model import CostModel
from qsdnn.cost.walk import Frontier, Walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """Dynamic programming, layer by layer.

    Within a family only a layer's cheapest primitive can be in an optimal plan, so a partial plan
    is summed up by its frontier: for each open tensor (made, and still to be read) the family of
    its producer and the families that it has entered. Of the partial plans with equal frontiers
    the cheapest is kept. Time and memory are linear in the layers and exponential in the number
    of tensors open at the same time.

    A frontier is dropped when another is so much cheaper that it stays cheaper even if it has to
    pay every crossing of the tensors still open. That keeps the optimum, and leaves few frontiers
    on most networks.

    Attributes:
        name: For reports.
        max_states: Frontiers kept at each layer. Past it the cheapest are kept (a beam), and the
            policy is not `proven`.
    """

    name: str = "exact"
    max_states: int = 200_000

    def learn(
        self,
        cost: CostModel,
        *,
        episodes: int = 1,
        seed: int = 0,
        on_episode: Callable[[Episode], None] | None = None,
    ) -> Policy:
        """Finds the best plan in one pass; `episodes` and `seed` change nothing.

        Raises:
            InputError: The space has more families than `qsdnn.cost.walk.MAX_FAMILIES`.
        """
        began = time.perf_counter()
        choice, proven = _solve(Walk(cost=cost), self.max_states)
        latency_ms = cost.predict(choice)
        if on_episode:
            on_episode(Episode(number=0, latency_ms=latency_ms, best_ms=latency_ms, epsilon=np.nan))
        return Policy(
            choice=choice,
            latency_ms=latency_ms,
            candidates=choice[None, :],
            proven=proven,
            episodes=1,
            steps=len(choice),
            seconds=time.perf_counter() - began,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trace:
    """How each kept frontier after a layer was reached: the one before, and the primitive."""

    parent: NDArray[np.int32]
    primitive: NDArray[np.int32]


def _solve(walk: Walk, max_states: int) -> tuple[NDArray[np.int64], bool]:
    """The best plan, and whether no beam was needed to find it."""
    # A negative cost of crossing would make the argument of `_in_reach` wrong.
    prunes = bool((walk.cost.enter_ms >= 0).all() and (walk.cost.leave_ms >= 0).all())
    frontier, total_ms = walk.start(1), np.zeros(1)
    traces: list[_Trace] = []
    proven = True
    for layer in range(len(walk.stops)):
        options = _cheapest(walk, layer)
        parent = np.repeat(np.arange(len(total_ms)), len(options))
        actions = np.tile(options, len(total_ms))
        frontier = frontier.take(parent)
        total_ms = total_ms[parent] + walk.step(frontier, layer, actions)
        kept = _in_reach(walk, layer, frontier, total_ms) if prunes else np.arange(len(parent))
        kept = kept[_distinct(walk, layer, frontier.take(kept), total_ms[kept])]
        if len(kept) > max_states:
            kept = kept[np.argpartition(total_ms[kept], max_states)[:max_states]]
            proven = False
        frontier, total_ms = frontier.take(kept), total_ms[kept]
        traces.append(
            _Trace(parent=parent[kept].astype(np.int32), primitive=actions[kept].astype(np.int32))
        )
    return _retrace(traces, int(np.argmin(total_ms))), proven


def _cheapest(walk: Walk, layer: int) -> NDArray[np.int64]:
    """The cheapest permitted primitive of each family that a layer may take."""
    allowed = np.flatnonzero(walk.space.mask[layer])
    by_cost = allowed[np.argsort(walk.cost.layer_ms[layer, allowed], kind="stable")]
    _, first = np.unique(walk.space.family_of[by_cost], return_index=True)
    return np.asarray(by_cost[first])


def _in_reach(
    walk: Walk, layer: int, frontier: Frontier, total_ms: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Rows that may still lead to the optimum.

    The cheapest row can copy the future of any other and pays at most every crossing still
    possible from where it is more: a row dearer by more than that cannot win.
    """
    best = int(np.argmin(total_ms))
    stop, cost = walk.stops[layer], walk.cost
    slack_ms = 0.0
    for slot, t in zip(stop.open, stop.open_edges, strict=True):
        family = int(frontier.family[best, slot])
        entered = int(frontier.entered[best, slot])
        readers = sum(consumer > layer for consumer in set(walk.space.edges[t].consumers))
        fresh = [g for g in range(len(walk.space.families)) if g != family and not entered >> g & 1]
        slack_ms += np.sort(cost.enter_ms[t, fresh])[::-1][:readers].sum()
        slack_ms += 0.0 if entered else cost.leave_ms[t, family]
    return np.flatnonzero(total_ms <= total_ms[best] + slack_ms)


def _distinct(
    walk: Walk, layer: int, frontier: Frontier, total_ms: NDArray[np.float64]
) -> NDArray[np.intp]:
    """The cheapest row of each frontier."""
    families = len(walk.space.families)
    key = _key(frontier.codes(families)[:, walk.stops[layer].open])
    order = np.lexsort((total_ms, key))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = key[order][1:] != key[order][:-1]
    return order[first]


def _key(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) a number for each row of codes; equal for equal rows only."""
    key = np.zeros(len(codes), dtype=np.int64)
    for column in codes.T:
        values, dense = np.unique(column, return_inverse=True)
        if int(key.max(initial=0)) >= 2**62 // len(values):
            key = np.unique(key, return_inverse=True)[1]
        key = key * len(values) + dense
    return key


def _retrace(traces: list[_Trace], row: int) -> NDArray[np.int64]:
    """The choices that led to a row after the last layer."""
    choice = np.empty(len(traces), dtype=np.int64)
    for layer in range(len(traces) - 1, -1, -1):
        choice[layer] = traces[layer].primitive[row]
        row = int(traces[layer].parent[row])
    return choice
