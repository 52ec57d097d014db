"""Packages, references and records as the agent speaks of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from qsdnn.board import Applied, BoardInfo, MeasureOptions, Package, Record, Reference, State, Trust
from qsdnn.engine import EngineInfo
from qsdnn_runtime.frames import Frame
from qsdnn_runtime.values import pack_values, unpack_values


def measure_request(
    packages: Sequence[Package], reference: Reference, options: MeasureOptions
) -> tuple[dict[str, Any], list[bytes]]:
    """The request to measure a group: a header, and its payload in pieces."""
    outputs = reference.outputs
    values = {
        "feeds": list(reference.feeds.values()),
        "outputs": None if outputs is None else list(outputs.values()),
    }
    descriptions, pieces = pack_values(values)
    header = {
        "op": "measure",
        "packages": [{"manifest": dict(package.manifest)} for package in packages],
        "options": dataclasses.asdict(options),
        "tolerance": reference.tolerance,
        "feeds": list(reference.feeds),
        "outputs": None if outputs is None else list(outputs),
        "values": descriptions,
    }
    return header, pieces


def run_request(
    package: Package, feeds: Mapping[str, Any], *, threads: int, timeout_s: float
) -> tuple[dict[str, Any], list[bytes]]:
    """The request to run a package once: a header, and its payload in pieces."""
    descriptions, pieces = pack_values({"feeds": list(feeds.values())})
    header = {
        "op": "run",
        "packages": [{"manifest": dict(package.manifest)}],
        "threads": threads,
        "timeout_s": timeout_s,
        "feeds": list(feeds),
        "values": descriptions,
    }
    return header, pieces


def read_outputs(answer: Frame) -> dict[str, Any]:
    """The outputs of a run by name."""
    return unpack_values(answer.header["values"], answer.payload)


def read_board_info(name: str, answer: Mapping[str, Any]) -> BoardInfo:
    """What a board said of itself."""
    engines = {
        engine: EngineInfo(
            name=engine,
            version=entry["version"],
            devices=tuple(entry["devices"]),
            capabilities=tuple(entry["capabilities"]),
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
        runs_ms=tuple(entry.get("runs_ms", ())),
        segments_ms=tuple(map(tuple, entry.get("segments_ms", ()))),
        ci95_ms=(low_ms, high_ms),
        load_ms=entry.get("load_ms", 0.0),
        layers_ms={int(index): time for index, time in entry.get("layers_ms", {}).items()},
        applied={
            int(index): Applied(primitive=primitive, kernel=kernel)
            for index, (primitive, kernel) in entry.get("applied", {}).items()
        },
        max_error=entry.get("max_error"),
        trust=Trust(entry.get("trust", Trust.STABLE)),
        context=entry.get("context", {}),
    )
