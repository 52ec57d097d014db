"""The space: which primitive each layer may take, and which tensors tie the choices together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.primitive import Primitive


@dataclass(frozen=True, kw_only=True)
class Edge:
    """An activation made by one layer and read by others.

    Attributes:
        producer: Layer index.
        consumers: Layer indices, ascending, each greater than `producer`.
        size_bytes: Of the tensor.
    """

    producer: int
    consumers: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Space:
    """What can be chosen; all an environment and an agent need to know of a network.

    Attributes:
        layers: Names, in topological order.
        primitives: All primitives of the space; an action is an index into it.
        mask: (layers, primitives) bool: what each layer may take. Every row has a True.
        edges: The tensors between layers, by ascending producer. Graph inputs are no edges.
        features: (layers, n) float32 for agents that generalise over layers: log MACs, log bytes,
            one-hot kind …; may be empty.
    """

    layers: tuple[str, ...]
    primitives: tuple[Primitive, ...]
    mask: NDArray[np.bool_] = field(repr=False)
    edges: tuple[Edge, ...] = field(repr=False)
    features: NDArray[np.float32] = field(
        repr=False, default_factory=lambda: np.zeros((0, 0), np.float32)
    )

    @cached_property
    def families(self) -> tuple[str, ...]:
        """The families of the primitives, in order of first appearance."""
        return tuple(dict.fromkeys(p.family for p in self.primitives))

    @cached_property
    def family_of(self) -> NDArray[np.int64]:
        """(primitives,) index of each primitive's family."""
        index = {family: i for i, family in enumerate(self.families)}
        return np.array([index[p.family] for p in self.primitives], dtype=np.int64)

    def check(self, choice: Sequence[int] | NDArray[Any]) -> None:
        """Raises ValueError unless `choice` has a permitted primitive index for each layer."""
        picked = np.asarray(choice)
        if picked.shape != (len(self.layers),):
            raise ValueError(f"{picked.shape} is not a plan of {len(self.layers)} layers")
        if not self.mask[np.arange(len(picked)), picked].all():
            bad = int(np.flatnonzero(~self.mask[np.arange(len(picked)), picked])[0])
            raise ValueError(f"layer {bad} may not take primitive {self.primitives[picked[bad]]}")
