"""The job of a child that runs packages over many inputs, for the outputs and not the times."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping

import numpy as np

from qsdnn_runtime.frames import Frame
from qsdnn_runtime.program.values import pack_values

from .beacon import Beacon
from .subject import Subject

# The size of the outputs gathered before they are sent: little memory, few frames.
PART_BYTES = 4 << 20

Emit = Callable[..., None]


def evaluate(frame: Frame, beacon: Beacon, emit: Emit) -> None:
    """Loads one package after another, once, and runs each on every row of the inputs.

    A package's outputs come as ``outputs`` events, stacked, with ``first``, the row they begin at;
    then ``evaluated``, or at any time ``failed`` with a ``state`` and an ``error``.
    """
    inputs = {entry["name"]: _mapped(entry) for entry in frame.header["inputs"]}
    for package in frame.header["packages"]:
        # A bare package is timed without a session; its outputs are the same with one.
        manifest = {key: value for key, value in package["manifest"].items() if key != "bare"}
        subject = Subject({**package, "manifest": manifest}, frame.header["threads"], beacon)
        emit({"event": "progress", "text": "evaluating"})
        _run_over(subject, inputs, emit)
        if subject.alive:
            emit({"event": "evaluated", "index": subject.index})
        else:
            emit({"event": "failed", "index": subject.index, **subject.failure})
        subject.close()


def _run_over(subject: Subject, inputs: Mapping[str, np.ndarray], emit: Emit) -> None:
    """Runs a subject on all rows, or until the subject fails."""
    rows: List[Dict[str, Any]] = []
    count = min(len(values) for values in inputs.values())
    feeds = {name: values[0] for name, values in inputs.items()}
    subject.load(feeds, huge_pages=False)
    for number in range(count if subject.alive else 0):
        row = subject.outputs_of({name: values[number] for name, values in inputs.items()})
        if row is None:
            return
        rows.append(row)
        if number + 1 == count or len(rows) * _size_bytes(row) >= PART_BYTES:
            stacked = subject.stacked(rows)
            if stacked is None:
                return
            descriptions, pieces = pack_values(stacked)
            first = number + 1 - len(rows)
            event = {"event": "outputs", "index": subject.index, "first": first}
            emit({**event, "values": descriptions}, pieces)
            rows = []


def _mapped(entry: Mapping[str, Any]) -> np.ndarray:
    """An input's rows, which are read from its file as they are needed."""
    return np.memmap(entry["file"], np.dtype(entry["dtype"]), "r", shape=tuple(entry["shape"]))


def _size_bytes(row: Mapping[str, Any]) -> int:
    return sum(np.asarray(value).nbytes for value in row.values())
