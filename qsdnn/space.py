"""The space: which primitive each layer may take, and which tensors tie the choices together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.engine import accepted
from qsdnn.errors import InfeasibleError
from qsdnn.primitive import Precision, Primitive

if TYPE_CHECKING:
    from qsdnn.engine import Engine, EngineInfo
    from qsdnn.model.layer import Graph


@dataclass(frozen=True, kw_only=True)
class Edge:
    """An activation made by one layer and read by others.

    Attributes:
        producer: The index of the layer that makes the tensor.
        consumers: The indices of the layers that read the tensor, ascending, each greater than
            `producer`.
        size_bytes: The size of the tensor.
        tensor: The name of the tensor.
    """

    producer: int
    consumers: tuple[int, ...]
    size_bytes: int
    tensor: str = ""


@dataclass(frozen=True, kw_only=True)
class Space:
    """The choices there are; all that an environment and an agent need to know of a network.

    Attributes:
        layers: The names of the layers, in topological order.
        primitives: All primitives of the space; an action is an index into it.
        mask: The permitted primitives of each layer (layers, primitives), as bool. Every row has a
            True.
        edges: The tensors between layers, by ascending producer. Graph inputs are no edges.
        places: The place of each primitive among those offered to the layer (layers, primitives):
            an engine offers first what it does by default. May be empty.
        computes: Whether each layer is a convolution or a matrix product (layers,).
        features: The features of the layers (layers, n), float32, for agents that generalise over
            layers: log MACs, log bytes, one-hot kind …; may be empty.
    """

    layers: tuple[str, ...]
    primitives: tuple[Primitive, ...]
    mask: NDArray[np.bool_] = field(repr=False)
    edges: tuple[Edge, ...] = field(repr=False)
    places: NDArray[np.int64] = field(
        repr=False, default_factory=lambda: np.zeros((0, 0), np.int64)
    )
    computes: NDArray[np.bool_] = field(repr=False, default_factory=lambda: np.zeros(0, np.bool_))
    features: NDArray[np.float32] = field(
        repr=False, default_factory=lambda: np.zeros((0, 0), np.float32)
    )

    @cached_property
    def preference(self) -> NDArray[np.int64]:
        """The places (layers, primitives); all 0 where none are known."""
        return self.places if self.places.size else np.zeros(self.mask.shape, dtype=np.int64)

    @cached_property
    def domains(self) -> tuple[str, ...]:
        """The domains of the primitives, in order of first appearance."""
        return tuple(dict.fromkeys(p.domain for p in self.primitives))

    @cached_property
    def domain_of(self) -> NDArray[np.int64]:
        """The index of each primitive's domain (primitives,)."""
        index = {domain: i for i, domain in enumerate(self.domains)}
        return np.array([index[p.domain] for p in self.primitives], dtype=np.int64)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The domains, then the layouts that several of them have in common.

        A tensor that passes from one domain to another leaves the one and enters the other; where
        both have a layout in common the tensor stays in that layout, and nothing has to be
        converted.
        """
        told = {p.domain: p.layouts for p in self.primitives if p.layouts}
        count = Counter(layout for layouts in told.values() for layout in layouts)
        return (*self.domains, *sorted(layout for layout, n in count.items() if n > 1))

    @cached_property
    def holds(self) -> NDArray[np.bool_]:
        """The labels of tensors in each domain (labels, domains): the domain and its layouts."""
        told = {p.domain: p.layouts for p in self.primitives if p.layouts}
        return np.array(
            [[name in (d, *told.get(d, ())) for d in self.domains] for name in self.labels],
            dtype=np.bool_,
        ).reshape(len(self.labels), len(self.domains))

    @cached_property
    def shared_layouts(self) -> tuple[tuple[int, frozenset[int]], ...]:
        """The labels that are layouts, each with the domains that have it."""
        count = len(self.domains)
        return tuple(
            (count + i, frozenset(np.flatnonzero(has).tolist()))
            for i, has in enumerate(self.holds[count:])
        )

    def same_as(self, other: Space) -> bool:
        """Whether a plan, or anything learned, means the same in both spaces."""
        return self is other or (
            (self.layers, self.primitives, self.edges)
            == (other.layers, other.primitives, other.edges)
            and np.array_equal(self.mask, other.mask)
        )

    def check(self, choice: Sequence[int] | NDArray[Any]) -> None:
        """Raises ValueError unless `choice` has a permitted primitive index for each layer."""
        picked = np.asarray(choice)
        if picked.shape != (len(self.layers),):
            raise ValueError(f"{picked.shape} is not a plan of {len(self.layers)} layers")
        if not self.mask[np.arange(len(picked)), picked].all():
            bad = int(np.flatnonzero(~self.mask[np.arange(len(picked)), picked])[0])
            raise ValueError(f"layer {bad} may not take primitive {self.primitives[picked[bad]]}")


def space_of(
    graph: Graph,
    engines: Mapping[str, Engine],
    infos: Mapping[str, EngineInfo],
    precisions: Collection[Precision] = (Precision.FP32,),
    *,
    unoffered: bool = False,
) -> Space:
    """The space of a network on a board.

    Args:
        graph: The network.
        engines: The host halves of the engines to choose from, by name.
        infos: The engines that the board has; those it lacks offer nothing.
        precisions: The precisions that are allowed.
        unoffered: Whether what engines do not offer is among it: see `qsdnn.engine.Reserved`.

    Raises:
        InfeasibleError: Some layer has no primitive.
    """
    offered: list[list[Primitive]] = []
    for layer in graph.layers:
        mine = [
            primitive
            for name, engine in engines.items()
            if name in infos
            for primitive in (
                accepted(engine, layer, infos[name])
                if unoffered
                else engine.primitives(layer, infos[name])
            )
            if primitive.precision in precisions
        ]
        if not mine:
            reason = f"pinned to onnxruntime: {layer.pinned}" if layer.pinned else "unsupported"
            raise InfeasibleError(
                f"layer {layer.index} '{layer.name}' ({', '.join(layer.op_types)}) can run on none "
                f"of the engines {', '.join(engines)} ({reason})",
                hint="add onnxruntime to --engines",
            )
        offered.append(mine)
    primitives = tuple(dict.fromkeys(p for mine in offered for p in mine))
    return Space(
        layers=tuple(layer.name for layer in graph.layers),
        primitives=primitives,
        mask=np.array([[p in mine for p in primitives] for mine in offered], dtype=np.bool_),
        edges=_edges(graph),
        places=np.array(
            [[mine.index(p) if p in mine else len(mine) for p in primitives] for mine in offered],
            dtype=np.int64,
        ),
        computes=np.array([layer.macs > 0 for layer in graph.layers], dtype=np.bool_),
        features=_features(graph),
    )


def _edges(graph: Graph) -> tuple[Edge, ...]:
    consumers: dict[str, list[int]] = {}
    for layer in graph.layers:
        for name in dict.fromkeys(layer.inputs):
            consumers.setdefault(name, []).append(layer.index)
    edges = [
        Edge(
            producer=graph.producer[name],
            consumers=tuple(readers),
            size_bytes=graph.tensors[name].size_bytes,
            tensor=name,
        )
        for name, readers in consumers.items()
        if name in graph.producer
    ]
    return tuple(sorted(edges, key=lambda edge: (edge.producer, edge.consumers)))


def _features(graph: Graph) -> NDArray[np.float32]:
    """The features (layers, 3 + kinds): log₁₀ of MACs, weight and activation bytes; kind."""
    kinds = sorted({layer.kind for layer in graph.layers})
    sizes = [[la.macs, la.parameter_bytes, la.activation_bytes] for la in graph.layers]
    one_hot = [[float(layer.kind == kind) for kind in kinds] for layer in graph.layers]
    return np.hstack([np.log10(1.0 + np.array(sizes, float)), np.array(one_hot)]).astype(np.float32)
