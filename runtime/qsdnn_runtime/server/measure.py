"""The jobs of a child that run packages: measure a group, profile it, weigh one, evaluate."""

from __future__ import annotations

import os
import resource
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from qsdnn_runtime.board.disturbance import Waits, taken_by_others
from qsdnn_runtime.board.sensors import Sensors
from qsdnn_runtime.frames import Frame
from qsdnn_runtime.program.values import pack_values, unpack_values
from qsdnn_runtime.protocol import MeasureOptions, Step

from .postmortem import Beacon
from .subject import Subject
from .turns import interleave

PROGRESS_EVERY_S = 0.5

# The number of runs before memory is read: some engines take more memory in their second run.
MEMORY_RUNS = 3

Emit = Callable[..., None]
# The size of the outputs gathered before they are sent: little memory, few frames.
PART_BYTES = 4 << 20


def measure(frame: Frame, beacon: Beacon, emit: Emit) -> None:
    """Measures packages interleaved with one another: a ``record`` event for each."""
    options = MeasureOptions(**frame.header["options"])
    feeds, want = _values(frame)
    tolerance = frame.header["tolerance"]
    loaded = []
    for number, package in enumerate(frame.header["packages"], 1):
        emit(_progress("loading %d of %d" % (number, len(frame.header["packages"]))))
        subject = Subject(package, options.threads, beacon)
        subject.load(feeds)
        subject.run_first()
        subject.check(want, tolerance)
        if not subject.alive:
            # Sent at once: if another package ends this process, this one need not be tried again.
            emit(_record(subject, subject.record()))
            subject.close()
        else:
            loaded.append(subject)
    cores = sorted(os.sched_getaffinity(0))
    sensors = Sensors(cores, frame.header["conditions"]["sensors"])
    cold = frame.header["conditions"]["cold"]
    around = _interleave(loaded, options, sensors, emit, cold=cold)
    beacon.mark(Step.REPORT)  # an error from here on is not the fault of who ran last
    context = {"threads": options.threads, "cores": cores, **around}
    context["process_peak_mb"] = _peak_memory_mb()  # with all packages loaded at once
    for subject in loaded:
        subject.check(want, tolerance)  # the outputs of the timed runs, not only of the first
        fields = {**subject.record(), "context": {**context, **subject.waits()}}
        emit(_record(subject, fields))


def profile(frame: Frame, beacon: Beacon, emit: Emit) -> None:
    """Times the layers of packages one after another: a ``profile`` event for each."""
    options = MeasureOptions(**frame.header["options"])
    feeds, _ = _values(frame)
    for number, package in enumerate(frame.header["packages"], 1):
        emit(_progress("profiling %d of %d" % (number, len(frame.header["packages"]))))
        subject = Subject(package, options.threads, beacon)
        subject.load(feeds, profile=True)
        found = subject.layers()
        fields = {"error": subject.failure["error"]} if found is None else found
        emit({"event": "profile", "index": subject.index, **fields})
        subject.close()


def memory(frame: Frame, beacon: Beacon, emit: Emit) -> None:
    """Runs one package in a process that runs nothing else: a ``memory`` event."""
    feeds, _ = _values(frame)
    subject = Subject(
        frame.header["packages"][0], MeasureOptions(**frame.header["options"]).threads, beacon
    )
    subject.load(feeds)
    for _ in range(MEMORY_RUNS):
        subject.run_first()
    if subject.alive:
        emit({"event": "memory", "index": subject.index, "peak_memory_mb": _peak_memory_mb()})
    subject.close()


def _peak_memory_mb() -> Optional[float]:
    """The most memory that this process ever took, in MB; None where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="ascii") as stream:
            sizes = [line.split()[1] for line in stream if line.startswith("VmHWM:")]
    except OSError:
        return None
    return int(sizes[0]) * 1024 / 1e6 if sizes else None


def run(frame: Frame, beacon: Beacon, emit: Emit) -> None:
    """Runs one package once: an ``outputs`` event, or ``failed``."""
    feeds, _ = _values(frame)
    subject = Subject(frame.header["packages"][0], frame.header["threads"], beacon)
    subject.load(feeds, huge_pages=False)
    outputs = subject.run_first()
    if outputs is None:
        emit({"event": "failed", "error": subject.failure["error"]})
        return
    descriptions, pieces = pack_values(outputs)
    emit({"event": "outputs", "values": descriptions}, pieces)


def _interleave(
    subjects: Sequence[Subject],
    options: MeasureOptions,
    sensors: Sensors,
    emit: Emit,
    *,
    cold: bool,
) -> Dict[str, Any]:
    """Makes the timed runs.

    Returns:
        The sensors' readings ``before`` and ``after``; ``span_s``, the start and end on the
        monotonic clock; ``involuntary_switches``, how often another process or the kernel took a
        thread's core meanwhile; and the shares that others took, see
        `qsdnn_runtime.board.disturbance`.
    """
    last = [-PROGRESS_EVERY_S]

    def on_round(number: int) -> None:
        if time.monotonic() - last[0] >= PROGRESS_EVERY_S:
            last[0] = time.monotonic()
            emit(_progress("round %d of %d packages" % (number, len(subjects))))

    start_s, before = time.monotonic(), sensors.read()
    own_s, switches = time.process_time(), _switches()
    with Waits() as waits:
        interleave(subjects, options, time.monotonic, on_round, waits, cold)
    own_s, switches = time.process_time() - own_s, _switches() - switches
    end_s, after = time.monotonic(), sensors.read()
    return {
        "before": before,
        "after": after,
        "span_s": [start_s, end_s],
        "involuntary_switches": switches,
        **taken_by_others(before, after, own_s),
    }


def _switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _values(frame: Frame) -> Tuple[Dict[str, Any], Optional[Dict[str, Any]]]:
    """The inputs, and the reference's outputs; None where there is no reference."""
    values = unpack_values(frame.header["values"], frame.payload)
    names: Optional[List[str]] = frame.header.get("outputs")
    feeds = dict(zip(frame.header["feeds"], values["feeds"]))
    return feeds, None if names is None else dict(zip(names, values["outputs"]))


def _record(subject: Subject, fields: Mapping[str, Any]) -> Dict[str, Any]:
    return {"event": "record", "index": subject.index, "record": dict(fields)}


def _progress(text: str) -> Dict[str, Any]:
    return {"event": "progress", "text": text}


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
