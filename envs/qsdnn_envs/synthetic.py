"""Made-up instances: cost models of realistic shape, to study agents without a board.

Layer costs are log-normal; the primitives of one domain go well or badly together. What a
crossing costs is a share of a typical layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qsdnn.cost.model import CostModel
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Edge, Space
from qsdnn_envs.topology import Reads, reads

HELD_OUT = range(500)
"""Seeds of the `drawn` instances that agents are judged on."""

TUNING = range(1_000_000, 1_000_200)
"""Seeds of the `drawn` instances that settings are tuned on; none of them is held out."""


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
        topology: One of `qsdnn_envs.topology.TOPOLOGIES`. Where it is ``"random"`` or
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
