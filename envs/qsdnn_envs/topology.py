"""The wiring of the layers of made-up networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qsdnn.errors import unknown

Reads = list[set[int]]
"""For each layer, the layers it reads from; empty where it reads an input of the network."""


def reads(topology: str, layers: int, rng: np.random.Generator) -> Reads:
    """Draws a wiring.

    Args:
        topology: One of `TOPOLOGIES`.
        layers: The number of layers, about: the blocks of some topologies are not cut.
        rng: The generator that the wiring is drawn from.

    Raises:
        InputError: There is no topology of that name.
    """
    if topology not in _MORE:
        raise unknown("topology", topology, TOPOLOGIES)
    found: Reads = [set()]
    while len(found) < layers:
        _MORE[topology](found, layers, rng)
    return found


def _chain(found: Reads, layers: int, rng: np.random.Generator) -> None:
    found.append({len(found) - 1})


def _residual(found: Reads, layers: int, rng: np.random.Generator) -> None:
    """Adds a block of three layers, with a skip."""
    last = len(found) - 1
    found += [{last}, {last + 1}, {last + 2, last}]


def _inception(found: Reads, layers: int, rng: np.random.Generator) -> None:
    """Adds a block of four branches of one to three layers, and a concat."""
    last = len(found) - 1
    ends = set()
    for depth in rng.integers(1, 4, size=4):
        found.append({last})
        found += [{len(found) - 1 + i} for i in range(depth - 1)]
        ends.add(len(found) - 1)
    found.append(ends)


def _series_parallel(found: Reads, layers: int, rng: np.random.Generator) -> None:
    """Adds one layer, or a fork of two to four branches of layers and forks, and their join."""
    left = layers - len(found)
    if left < 3 or rng.random() < 0.5:
        found.append({len(found) - 1})
        return
    fork, end = len(found) - 1, len(found) + int(rng.integers(3, left + 1)) - 1
    ends = {fork} if rng.random() < 0.2 else set()
    cuts = np.sort(rng.integers(len(found) + 1, end, size=rng.integers(1, 4)))
    for until in dict.fromkeys([*cuts.tolist(), end]):
        found.append({fork})
        while len(found) < until:
            _series_parallel(found, until, rng)
        ends.add(len(found) - 1)
    found.append(ends)


def _random(found: Reads, layers: int, rng: np.random.Generator) -> None:
    """Adds a layer that reads up to three of the eight layers before it."""
    last = len(found) - 1
    near = np.arange(max(0, last - 7), last + 1)
    few = rng.integers(0, min(3, len(near)) + 1)
    found.append({int(p) for p in rng.choice(near, size=few, replace=False)})


def _irregular(found: Reads, layers: int, rng: np.random.Generator) -> None:
    """Adds a layer that mostly reads the layer before it, and sometimes layers from far back."""
    last = len(found) - 1
    back = np.minimum(rng.zipf(1.6, size=rng.binomial(3, 0.15)), last)
    before = {last} if rng.random() < 0.9 else set()
    found.append(before | {last - int(distance) for distance in back})


_MORE: dict[str, Callable[[Reads, int, np.random.Generator], None]] = {
    "chain": _chain,
    "residual": _residual,
    "inception": _inception,
    "series-parallel": _series_parallel,
    "random": _random,
    "irregular": _irregular,
}

TOPOLOGIES = tuple(_MORE)
"""``chain``; ``residual``: blocks of three layers with a skip; ``inception``: blocks of four
branches of one to three layers, and a concat; ``series-parallel``: forks and joins, nested and of
unequal lengths; ``random``: each layer reads up to three of the eight before it; ``irregular``:
mostly a chain, whose layers also read what was made far back, as in randomly wired networks."""
