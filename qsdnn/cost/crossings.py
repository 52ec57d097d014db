"""Crossings: which tensors a plan hands over between domains and layouts, and where it pays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsdnn.cost.terms import ENTER, LEAVE, Observation
from qsdnn.model.segment import Segment
from qsdnn.space import Space


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
