"""The cost model: predicts the latency of a plan; as a file it is what a search learned."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.errors import InputError
from qsdnn.files import open_output
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Edge, Space


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """Latency as a sum over layers and over tensors that cross between domains.

    For a plan p with labels F(l) of its layers, which are their domain and the layout that it has
    in common with other domains, if any (`Space.labels`):

        Σ_l layer_ms[l, p(l)]
      + Σ_{t, f ∈ F(producer(t)) : some consumer lacks f} leave_ms[t, f]
      + Σ_{t, g ∉ F(producer(t)) : some consumer has g} enter_ms[t, g]

    A tensor leaves its domain once, however many layers read it, and enters each other domain once.
    Where both domains have a layout in common the tensor is not converted, for it neither leaves
    nor enters that layout.

    Attributes:
        space: The search space that the costs are for.
        layer_ms: The latency of each layer in each primitive (layers, primitives); infinite where
            the mask forbids.
        leave_ms: The cost of handing edge t out of a segment of that domain, or of converting it
            from that layout (edges, labels).
        enter_ms: The cost of taking edge t into a segment of that domain, or of converting it to
            that layout (edges, labels).
    """

    space: Space
    layer_ms: NDArray[np.float64] = field(repr=False)
    leave_ms: NDArray[np.float64] = field(repr=False)
    enter_ms: NDArray[np.float64] = field(repr=False)

    def predict(self, choice: Sequence[int] | NDArray[Any]) -> float:
        """The latency of a plan, in ms.

        Args:
            choice: The primitive index of each layer (layers,).
        """
        picked = np.asarray(choice)
        domains = self.space.domain_of[picked].tolist()
        total = float(self.layer_ms[np.arange(len(picked)), picked].sum())
        for t, edge in enumerate(self.space.edges):
            home = domains[edge.producer]
            entered = {domains[c] for c in edge.consumers} - {home}
            if entered:
                left, met = [home], [*entered]
                for label, has in self.space.shared_layouts:
                    if home in has:
                        left += [] if entered <= has else [label]
                    else:
                        met += [] if entered.isdisjoint(has) else [label]
                total += float(self.leave_ms[t, left].sum() + self.enter_ms[t, met].sum())
        return total


def undivided(cost: CostModel) -> NDArray[np.int64]:
    """The fastest plan within each domain that takes all layers (n, layers), fastest first.

    An agent sees what layers take in parts of a network, and so overrates what these plans take.
    """
    space = cost.space
    plans = []
    for domain in range(len(space.domains)):
        inside = np.where(space.domain_of == domain, cost.layer_ms, np.inf)
        if np.isfinite(inside.min(axis=1)).all():
            plans.append(inside.argmin(axis=1))
    return np.array(sorted(plans, key=cost.predict), np.int64).reshape(-1, len(space.layers))


SCHEMA = "qsdnn.cost/1"


def write_cost(cost: CostModel, path: Path) -> None:
    """Writes a cost model and its space as one ``.npz`` of plain arrays.

    Raises:
        InputError: The file cannot be written.
    """
    space = cost.space
    header = {
        "schema": SCHEMA,
        "layers": space.layers,
        "primitives": [dataclasses.asdict(primitive) for primitive in space.primitives],
        "edges": [dataclasses.asdict(edge) for edge in space.edges],
    }
    with open_output(path, "--cost-model") as file:
        np.savez_compressed(
            file,
            header=np.array(json.dumps(header)),
            mask=space.mask,
            computes=space.computes,
            features=space.features,
            layer_ms=cost.layer_ms,
            leave_ms=cost.leave_ms,
            enter_ms=cost.enter_ms,
        )


def read_cost(path: str | Path) -> CostModel:
    """The cost model that `write_cost` wrote, equal to the last bit.

    Raises:
        InputError: The file cannot be read, or is no cost model.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            header: dict[str, Any] = json.loads(str(arrays["header"]))
            if header["schema"] != SCHEMA:
                raise ValueError(f"its schema is {header['schema']}, not {SCHEMA}")
            space = Space(
                layers=tuple(header["layers"]),
                primitives=tuple(_primitive(entry) for entry in header["primitives"]),
                edges=tuple(
                    Edge(**entry | {"consumers": tuple(entry["consumers"])})
                    for entry in header["edges"]
                ),
                **{name: arrays[name] for name in ("mask", "computes", "features")},
            )
            tables = {name: arrays[name] for name in ("layer_ms", "leave_ms", "enter_ms")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no cost model: {error}",
            hint="write one: qsdnn search MODEL --cost-model FILE.npz",
        ) from error
    return CostModel(space=space, **tables)


def _primitive(entry: dict[str, Any]) -> Primitive:
    layouts = tuple(entry.get("layouts", ()))
    return Primitive(**entry | {"precision": Precision(entry["precision"]), "layouts": layouts})
