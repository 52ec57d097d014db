"""Cost models as files: what a search learned of a network on a board, for anybody's agent."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from qsdnn.cost.model import CostModel
from qsdnn.errors import InputError
from qsdnn.files import open_output
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Edge, Space

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
