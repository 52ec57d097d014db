"""Packages, references and records as the measuring server's protocol has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qsdnn.board import (
    Applied,
    BoardInfo,
    Care,
    Evaluation,
    MeasureOptions,
    Package,
    Record,
    Reference,
    State,
    Step,
    Trust,
)
from qsdnn.engine import EngineInfo
from qsdnn_boards.spec.spec import Spec
from qsdnn_runtime.frames import Frame
from qsdnn_runtime.program.values import pack_values, unpack_values

from . import wire
from .cargo import Cargo, Item, artifacts, value


class Harvest:
    """Gathers the outputs of packages; complete outputs are kept when the board is lost."""

    def __init__(self) -> None:
        self._parts: dict[int, list[dict[str, Any]]] = {}
        self._done: dict[int, Evaluation] = {}

    def take(self, frame: Frame) -> None:
        """Takes a frame of the measuring server; a frame about anything else is ignored."""
        header = frame.header
        if header["op"] == "outputs":
            if header["first"] == 0:  # also when a package is tried again
                self._parts[header["index"]] = []
            self._parts[header["index"]].append(wire.read_outputs(frame))
        elif header["op"] == "evaluated":
            self._done[header["index"]] = _joined(self._parts.pop(header["index"], []))
        elif header["op"] == "failed":
            self._parts.pop(header["index"], None)
            self._done[header["index"]] = Evaluation(
                state=State(header["state"]), error=header["error"]
            )

    def evaluations(self, count: int, lost: Evaluation) -> list[Evaluation]:
        """The evaluations of all packages; `lost` for each package of which nothing was heard."""
        return [self._done.get(index, lost) for index in range(count)]


def _joined(parts: list[dict[str, Any]]) -> Evaluation:
    names = parts[0] if parts else {}
    try:
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in names}
    except ValueError as error:
        text = f"outputs of several inputs cannot be joined: {error}"
        return Evaluation(state=State.UNSUPPORTED, error=text)
    return Evaluation(state=State.OK, outputs=outputs)


def conditions(spec: Spec, care: Care, *, perform: bool) -> dict[str, Any]:
    """The conditions under which a board is to measure.

    Args:
        spec: The kind of board.
        care: How the board is to be treated.
        perform: Whether the performance mode is set when `care` does not say.
    """
    wanted = perform if care.performance_mode is None else care.performance_mode
    limit_c = care.max_temperature_c
    return {
        "performance": [dataclasses.asdict(setting) for setting in spec.performance if wanted],
        "sensors": [dataclasses.asdict(sensor) for sensor in spec.sensors],
        "max_temperature_c": spec.max_temperature_c if limit_c is None else limit_c,
        "cooling_limit_s": care.cooling_limit_s,
        "cold": care.cold,
    }


def measure_request(
    packages: Sequence[Package],
    reference: Reference,
    options: MeasureOptions,
    conditions: Mapping[str, Any],
) -> tuple[dict[str, Any], Cargo]:
    """The request to measure a group, and what must be on the board for it."""
    outputs = reference.outputs
    values, items = _pack(
        {
            "feeds": list(reference.feeds.values()),
            "outputs": None if outputs is None else list(outputs.values()),
        }
    )
    header = {
        "op": "measure",
        "packages": [{"manifest": dict(package.manifest)} for package in packages],
        "options": dataclasses.asdict(options),
        "conditions": conditions,
        "tolerance": reference.tolerance,
        "feeds": list(reference.feeds),
        "outputs": None if outputs is None else list(outputs),
        **values,
    }
    return header, Cargo([*items, *artifacts(packages)])


def run_request(
    package: Package, feeds: Mapping[str, Any], *, threads: int, timeout_s: float
) -> tuple[dict[str, Any], Cargo]:
    """The request to run a package once, and what must be on the board for it."""
    values, items = _pack({"feeds": list(feeds.values())})
    header = {
        "op": "run",
        "packages": [{"manifest": dict(package.manifest)}],
        "threads": threads,
        "timeout_s": timeout_s,
        "feeds": list(feeds),
        **values,
    }
    return header, Cargo([*items, *artifacts([package])])


def evaluate_request(
    packages: Sequence[Package],
    inputs: Mapping[str, np.ndarray[Any, Any]],
    *,
    threads: int,
    timeout_s: float,
) -> tuple[dict[str, Any], Cargo]:
    """The request to run packages over many inputs, and what must be on the board for it."""
    items = [value([array.tobytes()]) for array in inputs.values()]
    header = {
        "op": "evaluate",
        "packages": [{"manifest": dict(package.manifest)} for package in packages],
        "threads": threads,
        "timeout_s": timeout_s,
        "inputs": [
            {
                "name": name,
                "sha256": item.digest,
                "dtype": array.dtype.str,
                "shape": list(array.shape),
            }
            for (name, array), item in zip(inputs.items(), items, strict=True)
        ],
    }
    return header, Cargo([*items, *artifacts(packages)])


def _pack(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Item]]:
    """The part of a header that describes values, and an item for the bytes of each value.

    As each value has an item of its own, what stays the same from request to request is sent once.
    """
    descriptions: dict[str, Any] = {}
    items: list[Item] = []
    for name, content in values.items():
        described, pieces = pack_values({name: content})
        descriptions |= described
        items.append(value(pieces))
    return {"values": descriptions, "payloads": [item.digest for item in items]}, items


def read_outputs(answer: Frame) -> dict[str, Any]:
    """The outputs of a run by name."""
    return unpack_values(answer.header["values"], answer.payload)


def read_board_info(name: str, answer: Mapping[str, Any]) -> BoardInfo:
    """What a board said of itself, as a `BoardInfo`."""
    engines = {
        engine: EngineInfo(
            name=engine,
            version=entry["version"],
            devices=tuple(entry["devices"]),
            capabilities=tuple(entry["capabilities"]),
            lacks=tuple(entry["lacks"]),
        )
        for engine, entry in answer["engines"].items()
    }
    return BoardInfo(
        name=name, fingerprint=answer["fingerprint"], engines=engines, facts=answer["facts"]
    )


def read_record(entry: Mapping[str, Any]) -> Record:
    """A record, from what a board sends: fields that do not apply are absent there."""
    low_ms, high_ms = entry.get("ci95_ms", (0.0, 0.0))
    return Record(
        state=State(entry["state"]),
        error=entry.get("error", ""),
        step=Step(entry["step"]) if "step" in entry else None,
        runs_ms=tuple(entry.get("runs_ms", ())),
        segments_ms=tuple(map(tuple, entry.get("segments_ms", ()))),
        disturbed=tuple(entry.get("disturbed", ())),
        ci95_ms=(low_ms, high_ms),
        load_ms=entry.get("load_ms", 0.0),
        layers_ms={int(index): time for index, time in entry.get("layers_ms", {}).items()},
        applied={
            int(index): Applied(primitive=primitive, kernel=kernel)
            for index, (primitive, kernel) in entry.get("applied", {}).items()
        },
        max_error=entry.get("max_error"),
        peak_memory_mb=entry.get("peak_memory_mb"),
        trust=Trust(entry.get("trust", Trust.STABLE)),
        context=entry.get("context", {}),
    )
