"""The child's side: ``python -m qsdnn_runtime.server.worker BEACON PARENT``, job on standard input.

A job is one frame; its header names it. The answers are frames on standard output, each with an
``event``, the last one ``end``, which tells how long each step took:

- ``probe``: ``engines`` → ``engine`` events with ``index`` and ``info``, and ``numpy``.
- ``measure``: ``packages``, ``options``, values → ``record`` events.
- ``profile``: as for ``measure`` → ``profile`` events.
- ``memory``: as for ``measure``, with one package → a ``memory`` event.
- ``run``: one package, values → ``outputs``.
- ``evaluate``: ``packages``, ``inputs`` in files → ``outputs`` and ``evaluated``, or ``failed``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any, BinaryIO, Callable, Dict, Sequence

from qsdnn_runtime.frames import Frame, read_frame, take_standard_streams, write_frame
from qsdnn_runtime.protocol import Step

from .postmortem import Beacon

PR_SET_PDEATHSIG = 1  # linux/prctl.h

Emit = Callable[..., None]


def main(arguments: Sequence[str]) -> None:
    """Does one job and exits without cleaning up: engines crash and hang in their destructors."""
    beacon = Beacon(int(arguments[0]))
    _die_with(int(arguments[1]))
    source, sink = take_standard_streams()
    frame = read_frame(source.read)
    if frame is None:
        raise SystemExit("no job on standard input")
    emit = _emitter(sink)
    _job(frame.header["job"])(frame, beacon, emit)
    emit({"event": "end", "spent_s": beacon.spent_s()})
    os._exit(0)


def _job(name: str) -> Callable[[Frame, Beacon, Emit], None]:
    """The function that does a job; imports as little as that job needs."""
    if name == "probe":
        return _probe
    if name == "evaluate":
        from .measure import evaluate

        return evaluate
    from .measure import measure, memory, profile, run

    return {"measure": measure, "memory": memory, "profile": profile, "run": run}[name]


def _probe(frame: Frame, beacon: Beacon, emit: Emit) -> None:
    for index, engine in frame.header["engines"]:
        beacon.mark(Step.PROBE, index)
        emit({"event": "engine", "index": index, **_engine(engine)})
    beacon.mark(Step.START)
    import numpy

    emit({"event": "numpy", "version": numpy.__version__})


def _engine(name: str) -> Dict[str, Any]:
    """What an engine's loader says of itself; broken installations may raise anything at all."""
    from qsdnn_runtime.engine import EngineError, find_loader

    try:
        info = find_loader(name).probe()
    except EngineError:
        return {"info": None}
    except Exception as error:
        return {"info": None, "error": "%s: %s" % (type(error).__name__, error)}
    if info is None:
        return {"info": None}
    words = {"devices": info.devices, "capabilities": info.capabilities, "lacks": info.lacks}
    return {"info": {"version": info.version, **{key: list(word) for key, word in words.items()}}}


def _emitter(sink: BinaryIO) -> Emit:
    def emit(header: Dict[str, Any], payload: Sequence[bytes] = ()) -> None:
        write_frame(sink.write, header, payload)
        sink.flush()

    return emit


def _die_with(parent: int) -> None:
    """Has the kernel kill this process when the measuring server dies, however it dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the measuring server died before that
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
