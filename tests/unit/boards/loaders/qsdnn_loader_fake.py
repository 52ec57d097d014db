"""An engine whose manners are in its segment's options: it doubles its input, or misbehaves."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, EngineInfo, SegmentSpec


class FakeExecutable:
    def __init__(self, segment: SegmentSpec) -> None:
        self._segment = segment
        self._options = segment.options
        self._runs = 0

    def bind(self, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
        self._input = inputs[self._segment.inputs[0]]
        self._output = outputs[self._segment.outputs[0]]

    def run(self) -> None:
        self._runs += 1
        time.sleep(self._options.get("sleep_s", 0.0))
        np.multiply(self._input, self._options.get("factor", 2.0), out=self._output)
        if self._runs > self._options.get("good_runs", 10**9):
            misbehave(self._options["then"])

    def layer_times(self) -> dict[int, float]:
        return {index: 0.5 * self._runs for index in self._segment.layers}

    def applied(self) -> dict[int, Applied]:
        if "profile" in self._options:
            misbehave(self._options["profile"])
        return {index: Applied(name, "twice") for index, name in self._segment.layers.items()}

    def close(self) -> None:
        pass


class FakeLoader:
    name = "fake"

    def probe(self) -> EngineInfo:
        return EngineInfo("fake", "1.2", ("CPU",), ("FP32",))

    def load(self, segment: SegmentSpec, threads: int, profile: bool = False) -> FakeExecutable:
        print("engines print to standard output")
        os.write(1, b"and so does their C code\n")
        assert segment.artifact.read_bytes().startswith(b"weights"), "not what was sent"
        assert len(os.sched_getaffinity(0)) == threads
        assert os.environ["OMP_NUM_THREADS"] == str(threads)
        if "load" in segment.options:
            misbehave(segment.options["load"])
        return FakeExecutable(segment)


def misbehave(how: dict[str, Any]) -> None:
    """Does what the name says."""
    if how["kind"] == "kill_once":
        if not Path(how["note"]).exists():
            Path(how["note"]).touch()
            os.kill(os.getpid(), 9)
        return
    if "note" in how:
        Path(how["note"]).write_text(f"{os.getpid()} {os.getppid()}")
    kind = how["kind"]
    if kind == "segfault":
        ctypes.string_at(0)
    elif kind == "hang":
        time.sleep(3600)
    elif kind == "refuse":
        raise EngineError("no kernel for that")
    elif kind == "raise":
        raise RuntimeError("an engine's own error")
    elif kind == "exit":
        os._exit(3)
    elif kind == "kill":
        os.kill(os.getpid(), 9)
    elif kind == "eat":
        eaten = []
        while True:
            eaten.append(np.ones(1 << 20))
    elif kind == "kill_agent":
        time.sleep(1)  # what was told before is to be passed on
        os.kill(os.getppid(), 9)
        time.sleep(3600)


LOADER = FakeLoader()
