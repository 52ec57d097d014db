"""Made-up instances: cost models of realistic shape, to study agents without a board.

Layer costs are log-normal; the primitives of one family go well or badly together. What a
crossing costs is a share of a typical layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qsdnn.cost.model import CostModel
from qsdnn.errors import unknown
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Edge, Space

TOPOLOGIES = ("chain", "residual", "inception", "random")


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
            (blocks of four branches of one to three layers, and a concat); ``"random"`` (each
            layer reads up to three of the eight before it).
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
    space = _space(reads, primitives, families, permitted, rng)
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
    reads: Sequence[set[int]],
    primitives: int,
    families: int,
    permitted: float,
    rng: np.random.Generator,
) -> Space:
    mask = rng.random((len(reads), primitives)) < permitted
    mask[np.arange(len(reads)), rng.integers(primitives, size=len(reads))] = True
    consumers = [[c for c in range(len(reads)) if p in reads[c]] for p in range(len(reads))]
    return Space(
        layers=tuple(f"layer{i}" for i in range(len(reads))),
        primitives=tuple(_primitive(i, i % families) for i in range(primitives)),
        mask=mask,
        edges=tuple(
            Edge(producer=p, consumers=tuple(c), size_bytes=4096)
            for p, c in enumerate(consumers)
            if c
        ),
        features=rng.random((len(reads), 3), dtype=np.float32),
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
