"""The walk through the layers, compiled: what a choice costs and what it leaves open.

The environments step on the walk and the exact agent expands on it. It handles any number of walks
at once, all at the same layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.cost.model import CostModel
from qsdnn.errors import InputError
from qsdnn.space import Edge, Space

MAX_DOMAINS = 56
"""The most domains: a slot's code, 1 + domain + F·entered with F bits of `entered`, fits 63
bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The events at one layer, whatever is chosen there.

    Slots are places for open tensors: an open tensor is one already made and still to be read.

    Attributes:
        reads: The slots of the tensors that the layer reads (k,).
        enter_ms: The cost of entering each label, for those tensors (k, labels).
        leave_ms: The cost of leaving each label, for those tensors (k, labels).
        closes: The slots of the tensors that no later layer reads.
        opens: The slots of the tensors that the layer makes.
        producers: The slots of one tensor for each distinct producer among `reads`.
        open: The slots of the tensors that are open after the layer, those that are read soonest
            first.
        open_edges: The indices of those tensors in `Space.edges`.
    """

    reads: NDArray[np.intp]
    enter_ms: NDArray[np.float64]
    leave_ms: NDArray[np.float64]
    closes: NDArray[np.intp]
    opens: NDArray[np.intp]
    producers: NDArray[np.intp]
    open: NDArray[np.intp]
    open_edges: NDArray[np.intp]


@dataclass(slots=True, kw_only=True)
class Frontier:
    """The open tensors of n walks.

    Attributes:
        domain: The domain of each open tensor's producer (n, slots); −1 where the slot is free.
        entered: The bit set of the domains that have read each open tensor, other than its
            producer's (n, slots).
    """

    domain: NDArray[np.int64]
    entered: NDArray[np.int64]

    def take(self, rows: NDArray[np.intp]) -> Frontier:
        """A copy of the frontier of some of the walks, in the order of `rows`."""
        return Frontier(domain=self.domain[rows], entered=self.entered[rows])

    def codes(self, domains: int) -> NDArray[np.int64]:
        """The code of each open tensor (n, slots), 1 + domain + domains · entered; 0 where free."""
        return 1 + self.domain + domains * self.entered


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A cost model compiled for stepping: a step takes time in the layer's in-degree.

    Attributes:
        cost: The cost model that was compiled.
        stops: The stops of the walk, one for each layer.
        slots: The greatest number of tensors that are open at once.
    """

    cost: CostModel
    stops: tuple[Stop, ...] = field(init=False, repr=False)
    slots: int = field(init=False)

    def __post_init__(self) -> None:
        if len(self.space.domains) > MAX_DOMAINS:
            raise InputError(
                f"{len(self.space.domains)} domains are more than {MAX_DOMAINS}",
                hint="leave engines or precisions out",
            )
        slot_of, slots = _allot(self.space)
        object.__setattr__(self, "slots", slots)
        object.__setattr__(self, "stops", _compile(self.cost, slot_of))

    @property
    def space(self) -> Space:
        """The search space of the cost model."""
        return self.cost.space

    @cached_property
    def layouts(self) -> tuple[tuple[int, int], ...]:
        """The labels that are layouts, each with the bit set of the domains that have it."""
        return tuple(
            (at, sum(1 << domain for domain in has)) for at, has in self.space.shared_layouts
        )

    @cached_property
    def least_ms(self) -> NDArray[np.float64]:
        """The cost of each layer's fastest primitive alone (layers,)."""
        return np.asarray(self.cost.layer_ms.min(axis=1, initial=np.inf, where=self.space.mask))

    @cached_property
    def mask(self) -> NDArray[np.int8]:
        """The mask of each layer's choices (layers + 1, primitives); after the last, anything."""
        mask = np.ones((len(self.stops) + 1, len(self.space.primitives)), dtype=np.int8)
        mask[:-1] = self.space.mask
        return mask

    @cached_property
    def shared(self) -> NDArray[np.bool_]:
        """Whether the i-th open tensor ever is one with more than one reader (slots,)."""
        shared = np.zeros(self.slots, dtype=np.bool_)
        for stop in self.stops:
            for i, t in enumerate(stop.open_edges):
                shared[i] |= len(set(self.space.edges[t].consumers)) > 1
        return shared

    @cached_property
    def in_degree(self) -> int:
        """The largest number of distinct producers that a layer reads from."""
        return max((len(stop.producers) for stop in self.stops), default=0)

    def start(self, n: int) -> Frontier:
        """The frontier before the first layer."""
        domain = np.full((n, self.slots), -1, dtype=np.int64)
        return Frontier(domain=domain, entered=np.zeros((n, self.slots), dtype=np.int64))

    def step(
        self, frontier: Frontier, layer: int, actions: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Moves walks over a layer, changing their frontier in place.

        Args:
            frontier: The frontier of n walks, all at `layer`.
            layer: The index of the layer.
            actions: The permitted primitive indices (n,).

        Returns:
            The milliseconds that each choice adds (n,): see `qsdnn.cost.model.CostModel`.
        """
        stop = self.stops[layer]
        chosen = self.space.domain_of[actions]
        added_ms = self.cost.layer_ms[layer, actions]
        if len(stop.reads):
            added_ms = added_ms + _cross(frontier, stop, chosen, self.layouts)
        if len(stop.closes):
            frontier.domain[:, stop.closes] = -1
            frontier.entered[:, stop.closes] = 0
        if len(stop.opens):
            frontier.domain[:, stop.opens] = chosen[:, None]
        return np.asarray(added_ms)

    def latency_ms(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        """The predicted latency of plans (n,), equal to `CostModel.predict` of each.

        Args:
            choices: The permitted primitive indices (n, layers).
        """
        frontier = self.start(len(choices))
        latency_ms = np.zeros(len(choices))
        for layer, actions in enumerate(choices.T):
            latency_ms += self.step(frontier, layer, actions)
        return latency_ms

    def permitted(self, layer: int, actions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The actions (n,), each replaced by the next permitted one where it is not permitted."""
        allowed = np.flatnonzero(self.space.mask[layer])
        return allowed[np.searchsorted(allowed, actions) % len(allowed)]


def _cross(
    frontier: Frontier,
    stop: Stop,
    chosen: NDArray[np.int64],
    layouts: Sequence[tuple[int, int]],
) -> NDArray[Any]:
    """The cost of reading a stop's tensors in the chosen domain (n,); marks them as entered."""
    made_by = frontier.domain[:, stop.reads]
    entered = frontier.entered[:, stop.reads]
    here = np.left_shift(1, chosen)[:, None]
    crosses = made_by != chosen[:, None]
    enters = crosses & ((entered & here) == 0)
    leaves = crosses & (entered == 0)
    frontier.entered[:, stop.reads] = entered | np.where(crosses, here, 0)
    each = np.arange(len(stop.reads))
    enter_ms = np.where(enters, stop.enter_ms[:, chosen].T, 0.0)
    leave_ms = np.where(leaves, stop.leave_ms[each, made_by], 0.0)
    for label, has in layouts:
        had, wanted = has >> made_by & 1, (has >> chosen & 1)[:, None]
        converts = (had < wanted) & (entered & has == 0)
        enter_ms = enter_ms + np.where(converts, stop.enter_ms[:, label], 0.0)
        converts = (had > wanted) & (entered & ~has == 0)
        leave_ms = leave_ms + np.where(converts, stop.leave_ms[:, label], 0.0)
    return np.asarray((enter_ms + leave_ms).sum(axis=1))


def _allot(space: Space) -> tuple[dict[int, int], int]:
    """The slot of each edge, such that edges open at the same time have different ones."""
    makes, last_read = _by_layer(space)
    slot_of: dict[int, int] = {}
    free: list[int] = []
    slots = 0
    for layer in range(len(space.layers)):
        free.extend(slot_of[t] for t in last_read[layer])
        free.sort(reverse=True)
        for t in makes[layer]:
            if not free:
                free.append(slots)
                slots += 1
            slot_of[t] = free.pop()
    return slot_of, slots


def _by_layer(space: Space) -> tuple[list[list[int]], list[list[int]]]:
    """The edges that each layer makes and others read, and the edges it is the last to read."""
    makes: list[list[int]] = [[] for _ in space.layers]
    last_read: list[list[int]] = [[] for _ in space.layers]
    for t, edge in enumerate(space.edges):
        if edge.consumers:
            makes[edge.producer].append(t)
            last_read[max(edge.consumers)].append(t)
    return makes, last_read


def _compile(cost: CostModel, slot_of: dict[int, int]) -> tuple[Stop, ...]:
    makes, last_read = _by_layer(cost.space)
    reads: list[list[int]] = [[] for _ in cost.space.layers]
    for t, edge in enumerate(cost.space.edges):
        for consumer in set(edge.consumers):
            reads[consumer].append(t)
    stops = []
    open_edges: list[int] = []
    for layer, (read, made, last) in enumerate(zip(reads, makes, last_read, strict=True)):
        open_edges = [t for t in open_edges if t not in last] + made
        open_edges.sort(key=partial(_next_read, cost.space.edges, layer))
        stops.append(
            Stop(
                reads=_slots(read, slot_of),
                enter_ms=cost.enter_ms[read],
                leave_ms=cost.leave_ms[read],
                closes=_slots(last, slot_of),
                opens=_slots(made, slot_of),
                producers=_slots(_one_each(read, cost.space.edges), slot_of),
                open=_slots(open_edges, slot_of),
                open_edges=np.array(open_edges, dtype=np.intp),
            )
        )
    return tuple(stops)


def _next_read(edges: tuple[Edge, ...], layer: int, t: int) -> tuple[int, int]:
    """The key that sorts open tensors by which is read soonest."""
    return min(consumer for consumer in edges[t].consumers if consumer > layer), t


def _slots(edges: list[int], slot_of: dict[int, int]) -> NDArray[np.intp]:
    return np.array([slot_of[t] for t in edges], dtype=np.intp)


def _one_each(edges: list[int], all_edges: tuple[Edge, ...]) -> list[int]:
    """The edges, one for each of their producers."""
    return list({all_edges[t].producer: t for t in edges}.values())
