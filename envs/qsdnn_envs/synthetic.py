"""Made-up instances: cost models of realistic shape, to study agents without a board.

Layer costs are log-normal; the primitives of one domain go well or badly together. What a
crossing costs is a share of a typical layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from qsdnn.cost.model import CostModel
from qsdnn.errors import unknown
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Edge, Space

Reads = list[set[int]]
"""For each layer, the layers it reads from; empty where it reads an input of the network."""

HELD_OUT = range(500)
"""Seeds of the `drawn` instances that agents are judged on."""

TUNING = range(1_000_000, 1_000_200)
"""Seeds of the `drawn` instances that settings are tuned on; none of them is held out."""


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


def instance(
    topology: str,
    *,
    layers: int,
    primitives: int = 8,
    domains: int = 4,
    crossing: float = 0.3,
    permitted: float = 0.9,
    seed: int = 0,
) -> CostModel:
    """A random cost model.

    Args:
        topology: One of `TOPOLOGIES`. Where it is ``"random"`` or
            ``"irregular"`` some layers make two tensors.
        layers: The number of layers, about: blocks are not cut.
        primitives: The number of primitives.
        domains: The number of domains; at most `primitives`.
        crossing: The typical cost of leaving and of entering a domain, as a share of a typical
            layer's latency.
        permitted: The share of the primitives that a layer may take.
        seed: The seed of every random number; equal seeds give equal instances.

    Raises:
        InputError: There is no topology of that name.
    """
    rng = np.random.default_rng(seed)
    wiring = reads(topology, layers, rng)
    edges = _edges(wiring)
    if topology in ("random", "irregular"):
        edges = tuple(sorted(edges + _second_tensors(edges, rng), key=lambda edge: edge.producer))
    space = _space(edges, len(wiring), primitives, domains, permitted, rng)
    size = (len(wiring), primitives)
    domain_ms = rng.lognormal(0.0, 0.35, (len(wiring), len(space.domains)))
    layer_ms = rng.lognormal(0.0, 0.8, (len(wiring), 1)) * domain_ms[:, space.domain_of]
    layer_ms *= rng.lognormal(0.0, 0.25, size)
    typical_ms = crossing * float(np.median(layer_ms))
    crossings = (len(space.edges), len(space.domains))
    return CostModel(
        space=space,
        layer_ms=np.where(space.mask, layer_ms, np.inf),
        leave_ms=typical_ms * rng.lognormal(-0.7, 0.5, crossings),
        enter_ms=typical_ms * rng.lognormal(-0.7, 0.5, crossings),
    )


def drawn(seed: int) -> CostModel:
    """One of a set of varied instances: see `HELD_OUT` and `TUNING`.

    Half are series-parallel, half irregular. They have 10 to 200 layers and 3 to 20 primitives of
    2 to 8 domains; a crossing costs from a tenth of a typical layer to twice as much.

    Args:
        seed: The seed that the instance, its size and its kind are drawn from.
    """
    rng = np.random.default_rng([seed, 0])
    primitives = int(rng.integers(3, 21))
    return instance(
        ("series-parallel", "irregular")[seed % 2],
        layers=round(10 * 20 ** rng.random()),
        primitives=primitives,
        domains=int(rng.integers(2, min(8, primitives) + 1)),
        crossing=0.1 * 20 ** rng.random(),
        permitted=float(rng.uniform(0.4, 1.0)),
        seed=seed,
    )


def _space(
    edges: tuple[Edge, ...],
    layers: int,
    primitives: int,
    domains: int,
    permitted: float,
    rng: np.random.Generator,
) -> Space:
    mask = rng.random((layers, primitives)) < permitted
    mask[np.arange(layers), rng.integers(primitives, size=layers)] = True
    return Space(
        layers=tuple(f"layer{i}" for i in range(layers)),
        primitives=tuple(_primitive(i, i % domains) for i in range(primitives)),
        mask=mask,
        edges=edges,
        features=rng.random((layers, 3), dtype=np.float32),
    )


def _edges(wiring: Reads) -> tuple[Edge, ...]:
    """One tensor for each layer whose output another layer reads."""
    consumers: list[list[int]] = [[] for _ in wiring]
    for consumer, producers in enumerate(wiring):
        for producer in producers:
            consumers[producer].append(consumer)
    return tuple(
        Edge(producer=producer, consumers=tuple(by), size_bytes=4096)
        for producer, by in enumerate(consumers)
        if by
    )


def _second_tensors(edges: Sequence[Edge], rng: np.random.Generator) -> tuple[Edge, ...]:
    """A second tensor for some of the layers, read by the last reader of the first."""
    return tuple(
        Edge(producer=edge.producer, consumers=edge.consumers[-1:], size_bytes=4096)
        for edge in edges
        if rng.random() < 0.2
    )


def _primitive(index: int, domain: int) -> Primitive:
    return Primitive(
        engine=f"engine{domain}",
        algorithm=f"a{index}",
        precision=Precision.FP32,
        family=f"engine{domain}",
    )
