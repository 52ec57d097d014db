"""Made-up instances: cost models of realistic shape, to study agents without a board.

Layer costs are log-normal; the primitives of one family go well or badly together. What a
crossing costs is a share of a typical layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from qsdnn.cost.model import CostModel
from qsdnn.errors import unknown
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Edge, Space

TOPOLOGIES = ("chain", "residual", "inception", "series-parallel", "random", "irregular")


def instance(
    topology: str,
    *,
    layers: int,
    primitives: int = 8,
    families: int = 4,
    crossing: float = 0.3,
    permitted: float = 0.9,
    seed: int = 0,
) -> CostModel:
    """A random cost model.

    Args:
        topology: ``"chain"``; ``"residual"`` (blocks of three with a skip); ``"inception"``
            (blocks of four branches of one to three layers, and a concat);
            ``"series-parallel"`` (forks and joins, nested and of unequal lengths); ``"random"``
            (each layer reads up to three of the eight before it, and some make two tensors);
            ``"irregular"`` (mostly a chain, whose layers also read what was made far back, as
            in densely or randomly wired networks).
        layers: How many, about: blocks are not cut.
        primitives: How many.
        families: How many of them there are; at most `primitives`.
        crossing: Typical cost of leaving and of entering a family, as a share of a layer's.
        permitted: Share of the primitives that a layer may take.
        seed: Equal seeds give equal instances.

    Raises:
        InputError: No such topology.
    """
    rng = np.random.default_rng(seed)
    reads = _reads(topology, layers, rng)
    edges = _edges(reads)
    if topology == "random":
        edges = tuple(sorted(edges + _second_tensors(edges, rng), key=lambda edge: edge.producer))
    space = _space(edges, len(reads), primitives, families, permitted, rng)
    size = (len(reads), primitives)
    family_ms = rng.lognormal(0.0, 0.35, (len(reads), len(space.families)))
    layer_ms = rng.lognormal(0.0, 0.8, (len(reads), 1)) * family_ms[:, space.family_of]
    layer_ms *= rng.lognormal(0.0, 0.25, size)
    typical_ms = crossing * float(np.median(layer_ms))
    crossings = (len(space.edges), len(space.families))
    return CostModel(
        space=space,
        layer_ms=np.where(space.mask, layer_ms, np.inf),
        leave_ms=typical_ms * rng.lognormal(-0.7, 0.5, crossings),
        enter_ms=typical_ms * rng.lognormal(-0.7, 0.5, crossings),
    )


def _space(
    edges: tuple[Edge, ...],
    layers: int,
    primitives: int,
    families: int,
    permitted: float,
    rng: np.random.Generator,
) -> Space:
    mask = rng.random((layers, primitives)) < permitted
    mask[np.arange(layers), rng.integers(primitives, size=layers)] = True
    return Space(
        layers=tuple(f"layer{i}" for i in range(layers)),
        primitives=tuple(_primitive(i, i % families) for i in range(primitives)),
        mask=mask,
        edges=edges,
        features=rng.random((layers, 3), dtype=np.float32),
    )


def _edges(reads: Sequence[set[int]]) -> tuple[Edge, ...]:
    """One tensor for each layer that is read."""
    consumers: list[list[int]] = [[] for _ in reads]
    for consumer, producers in enumerate(reads):
        for producer in producers:
            consumers[producer].append(consumer)
    return tuple(
        Edge(producer=producer, consumers=tuple(by), size_bytes=4096)
        for producer, by in enumerate(consumers)
        if by
    )


def _second_tensors(edges: Sequence[Edge], rng: np.random.Generator) -> tuple[Edge, ...]:
    """For some layers, a second tensor that is read by the last reader of the first."""
    return tuple(
        Edge(producer=edge.producer, consumers=edge.consumers[-1:], size_bytes=4096)
        for edge in edges
        if rng.random() < 0.2
    )


def _primitive(index: int, family: int) -> Primitive:
    return Primitive(
        engine=f"engine{family}",
        algorithm=f"a{index}",
        precision=Precision.FP32,
        family=f"engine{family}",
    )


def _reads(topology: str, layers: int, rng: np.random.Generator) -> list[set[int]]:
    """The producers that each layer reads from."""
    reads: list[set[int]] = [set()]
    while len(reads) < layers:
        last = len(reads) - 1
        match topology:
            case "chain":
                reads.append({last})
            case "residual":
                reads += [{last}, {last + 1}, {last + 2, last}]
            case "inception":
                ends = set()
                for depth in rng.integers(1, 4, size=4):
                    reads.append({last})
                    reads += [{len(reads) - 1 + i} for i in range(depth - 1)]
                    ends.add(len(reads) - 1)
                reads.append(ends)
            case "random":
                near = np.arange(max(0, last - 7), last + 1)
                few = rng.integers(0, min(3, len(near)) + 1)
                reads.append({int(p) for p in rng.choice(near, size=few, replace=False)})
            case _:
                raise unknown("topology", topology, TOPOLOGIES)
    return reads
