"""Terms: the parts that the latency of a segment is a sum of, as columns of a linear system.

Every measured segment is one linear equation: its layers' times, plus what it costs to take tensors
in and to hand tensors out. The unknowns:

- for each layer and primitive, a factor on its profiled time;
- for each domain and direction, the rates of a crossing: a constant (a call, a wait) and a rate per
  KiB (a copy, a change of layout); likewise for a layout that several domains have
  (`Space.labels`), for what it adds to convert to it, or from it;
- for each single crossing (edge, label, direction), how far it is from what the rates say, since
  no two boundaries are quite alike;
- how much slower layers run in a part of the network than in a segment of the whole, as which they
  are profiled: −1 to 6 % on six networks, of all layers alike.

`experiments/cost_terms.py` tries further rates on plans that were not fitted: at layers that
compute, at depthwise ones, at channel counts that do not fill a block, for tensors with several
readers, and a constant for each segment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qsdnn.model.segment import Segment
from qsdnn.space import Space

ENTER, LEAVE = 0, 1
"""The directions of a crossing, as indices."""

PART = (0.0, 0.05)
"""The prior mean and spread of the slowdown in parts of a network, relative."""

RATES = ((0.005, 0.2), (0.0001, 0.002))
"""The prior mean and spread of a crossing's constant in ms, and of its rate in ms per KiB (a copy
at 10 GB/s). Both are wide: a few measurements decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One segment of a plan, measured or still to be.

    Attributes:
        layers: The indices of the segment's layers.
        primitives: The primitive index of each of those layers.
        crossings: The triples (direction, edge index, label index) of every tensor that enters or
            leaves a domain or a layout in the segment: at its borders, and inside it where two
            formats meet.
        ms: The time of the segment; NaN when it was not measured.
        doubt: The factor by which the time is less exact than a measurement that can be trusted.
    """

    layers: tuple[int, ...]
    primitives: tuple[int, ...]
    crossings: tuple[tuple[int, int, int], ...] = ()
    ms: float = math.nan
    doubt: float = 1.0


def crossing_sizes(space: Space) -> NDArray[np.float64]:
    """The factors of the rates of a crossing (2, edges, 2): 1 and the tensor's KiB, either way."""
    kib = np.array([edge.size_bytes / 1024 for edge in space.edges], dtype=float)
    return np.stack([np.stack([np.ones_like(kib), kib], axis=1)] * 2)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The columns of the linear system of a space.

    Attributes:
        space: The search space: the layers and what each may run as.
        profile_ms: The profiled times (layers, primitives); not finite where nothing was profiled.
        layer: The column of each factor (layers, primitives); −1 where there is none.
        rate: The column of each rate (2, labels, 2), by direction.
        crossing: The column of each single crossing (2, edges, labels), by direction.
        part: The column of the slowdown in parts of the network.
        size: The numbers that the rates of an edge are multiplied with (2, edges, 2), by direction.
        count: The number of columns.
    """

    space: Space
    profile_ms: NDArray[np.float64] = field(repr=False)
    layer: NDArray[np.intp] = field(init=False, repr=False)
    rate: NDArray[np.intp] = field(init=False, repr=False)
    crossing: NDArray[np.intp] = field(init=False, repr=False)
    part: int = field(init=False)
    size: NDArray[np.float64] = field(init=False, repr=False)
    count: int = field(init=False)

    def __post_init__(self) -> None:
        known = self.space.mask & np.isfinite(self.profile_ms)
        edges, labels = len(self.space.edges), len(self.space.labels)
        factors = int(known.sum())
        layer = np.full(known.shape, -1, dtype=np.intp)
        layer[known] = np.arange(factors)
        rates = 2 * labels * len(RATES)
        crossings = 2 * edges * labels
        values = {
            "layer": layer,
            "rate": factors + np.arange(rates).reshape(2, labels, len(RATES)),
            "crossing": factors + rates + np.arange(crossings).reshape(2, edges, labels),
            "part": factors + rates + crossings,
            "size": crossing_sizes(self.space),
            "count": factors + rates + crossings + 1,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def factors(self) -> int:
        """The number of columns that are factors; they come first."""
        return int(self.rate.min())

    @property
    def general(self) -> NDArray[np.intp]:
        """The columns of what holds for all layers, or all crossings of a label."""
        return np.append(self.rate.ravel(), self.part)

    def rows(self, observations: Sequence[Observation]) -> NDArray[np.float64]:
        """The factors of the unknowns in each segment's time (observations, columns)."""
        rows = np.zeros((len(observations), self.count))
        for row, o in zip(rows, observations, strict=True):
            layers, primitives = np.array(o.layers), np.array(o.primitives)
            profile_ms = self.profile_ms[layers, primitives]
            row[self.layer[layers, primitives]] = profile_ms
            row[self.part] = profile_ms.sum() if len(layers) < len(self.space.layers) else 0.0
            for way, t, label in o.crossings:
                self.add_crossing(row, way, t, label)
        return rows

    def add_crossing(self, row: NDArray[np.float64], way: int, t: int, label: int) -> None:
        """Adds to a row that edge t crosses in a direction and label."""
        row[self.rate[way, label]] += self.size[way, t]
        row[self.crossing[way, t, label]] += 1.0

    def crossings_ms(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The cost of each crossing (2, edges, labels).

        Args:
            values: The values of the unknowns (columns,).
        """
        by_rates = np.stack([self.size[way] @ values[self.rate[way]].T for way in (ENTER, LEAVE)])
        return np.asarray(by_rates + values[self.crossing])

    def layers_ms(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The cost of each layer in a part of the network (layers, primitives).

        The cost is infinite where the primitive cannot be chosen.
        """
        factors = np.append(values, np.inf)[self.layer] + values[self.part]  # −1 is infinite
        return np.asarray(np.where(self.layer >= 0, self.profile_ms, 1.0) * factors)


def segments_of(
    space: Space, choice: NDArray[np.int64], segments: Sequence[Segment]
) -> list[Observation]:
    """The segments of a plan as observations that are not measured."""
    crossings = _crossings(space, choice, segments)
    parts = []
    for segment, crossed in zip(segments, crossings, strict=True):
        layers = tuple(layer.index for layer in segment.layers)
        parts.append(
            Observation(
                layers=layers,
                primitives=tuple(int(choice[layer]) for layer in layers),
                crossings=tuple(crossed),
            )
        )
    return parts


def _crossings(
    space: Space, choice: NDArray[np.int64], segments: Sequence[Segment]
) -> list[list[tuple[int, int, int]]]:
    """The domains that tensors enter and leave in each segment, each once a direction.

    Layouts that domains have in common are listed too, where a tensor is not handed over in one.
    """
    domains = space.domain_of[np.asarray(choice)].tolist()
    kept = {name for segment in segments for name in segment.layouts}
    place = {layer.index: n for n, segment in enumerate(segments) for layer in segment.layers}
    handed = {name for segment in segments for name in segment.outputs}
    found: list[list[tuple[int, int, int]]] = [[] for _ in segments]
    for t, edge in enumerate(space.edges):
        here, home = place[edge.producer], domains[edge.producer]
        readers: dict[int, set[int]] = {here: set()}
        for consumer in edge.consumers:
            readers.setdefault(place[consumer], set()).add(domains[consumer])
        readers[here].discard(home)
        if edge.tensor in handed or readers[here]:
            found[here].append((LEAVE, t, home))
        for number, entered in readers.items():
            found[number] += [(ENTER, t, domain) for domain in sorted(entered)]
        for label, has in space.shared_layouts:
            outside = edge.tensor in handed and edge.tensor not in kept
            if home in has and (outside or not readers[here] <= has):
                found[here].append((LEAVE, t, label))
            for number, entered in readers.items():
                converted = home not in has if number == here else edge.tensor not in kept
                if converted and not entered.isdisjoint(has):
                    found[number].append((ENTER, t, label))
    return found
