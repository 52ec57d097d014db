"""A child of the measuring server: the process in which engines are asked, run, crash and hang."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import (
    Any,
    BinaryIO,
    Callable,
    ClassVar,
    Dict,
    Iterator,
    Mapping,
    Optional,
    Sequence,
    Set,
    Tuple,
    Type,
    cast,
)

from qsdnn_runtime.board.probe import loader_names
from qsdnn_runtime.frames import Frame, FrameError, read_frame, write_frame
from qsdnn_runtime.protocol import State, Step

from .postmortem import NOBODY, Beacon, Position, Tail, beacon_file

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# The time limit of a start: imports alone take seconds from a slow SD card.
START_TIMEOUT_S = 120.0
POLL_S = 0.25
WORKER = (sys.executable, "-m", "qsdnn_runtime.server.worker")
PROBE_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Failure:
    """How a child ended before its work was done.

    Attributes:
        state: `State.CRASHED` or `State.TIMED_OUT`.
        error: A text for people: how, at which step, and the last lines of standard error.
        step: The step that the child was in.
        index: The number of the package or engine that the step was of; `NOBODY` for none.
    """

    state: State
    error: str
    step: Step
    index: int


class Child:
    """A running child. A context manager: at its end, the process and all it started are gone.

    Args:
        job: The job to do: see `qsdnn_runtime.server.worker`.
        payload: The bytes that go with the job.
        folder: The child's working directory.
        threads: The number of threads the child's libraries may start, and of cores; None for no
            limit.

    Attributes:
        spent_s: The time in seconds that each step took, once the work has ended; what is told of
            no step is that of `Step.START`.
    """

    _running: ClassVar[Dict[int, "Child"]] = {}

    def __init__(
        self,
        job: Dict[str, Any],
        payload: Sequence[bytes] = (),
        *,
        folder: Path,
        threads: Optional[int] = None,
    ) -> None:
        self._frames: queue.SimpleQueue[Optional[Frame]] = queue.SimpleQueue()
        self._start_s = time.monotonic()
        self.spent_s: Dict[str, float] = {}
        with tempfile.TemporaryFile(dir=str(folder)) as order, beacon_file() as shared:
            write_frame(order.write, job, payload)
            order.seek(0)
            self._beacon = Beacon(shared.fileno())
            with _held_to_cores(threads):
                self._process = subprocess.Popen(
                    [*WORKER, str(shared.fileno()), str(os.getpid())],
                    stdin=order,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=str(folder),
                    env=_environment(threads),
                    pass_fds=[shared.fileno()],
                    start_new_session=True,
                )
        self._running[self._process.pid] = self
        self._errors = Tail(cast(BinaryIO, self._process.stderr))
        threading.Thread(target=self._read_frames, daemon=True).start()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.kill()
        self._process.wait()
        self._running.pop(self._process.pid, None)
        self._beacon.close()

    def attend(
        self, on_event: Callable[[Frame], None], timeout_s: float = START_TIMEOUT_S
    ) -> Optional[Failure]:
        """Passes on what the child says until it says ``end``.

        Args:
            on_event: A function that gets each frame but the last.
            timeout_s: The longest time that one step may take.

        Returns:
            None when the child finished; else how it failed.
        """
        while True:
            try:
                frame = self._frames.get(timeout=POLL_S)
            except queue.Empty:
                late = self._overdue(timeout_s)
                if late is not None:
                    return late
                continue
            if frame is None:
                return self._crash()
            if frame.header.get("event") == "end":
                self._add_up(frame.header["spent_s"])
                return None
            on_event(frame)

    def kill(self) -> None:
        """Kills the process and its whole process group, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    @classmethod
    def kill_all(cls) -> None:
        """Kills every running child, as the measuring server is about to end."""
        for child in list(cls._running.values()):
            child.kill()

    def _add_up(self, told: Mapping[str, float]) -> None:
        rest_s = time.monotonic() - self._start_s - sum(told.values())
        start_s = told.get(Step.START.value, 0.0) + rest_s
        self.spent_s = {**told, Step.START.value: start_s}

    def _read_frames(self) -> None:
        assert self._process.stdout is not None
        # A FrameError: the child died while it wrote a frame.
        with self._process.stdout as stream, suppress(FrameError):
            for frame in iter(lambda: read_frame(stream.read), None):
                self._frames.put(frame)
        self._frames.put(None)

    def _overdue(self, timeout_s: float) -> Optional[Failure]:
        position = self._beacon.read()
        limit_s = START_TIMEOUT_S if position.index == NOBODY else timeout_s
        if time.monotonic() - position.since_s <= limit_s:
            return None
        self.kill()
        return self._failure(
            State.TIMED_OUT, "no end of '%s' after %g s" % (position.step, limit_s)
        )

    def _crash(self) -> Failure:
        self.kill()  # the child may have closed its stream and live on
        return self._failure(State.CRASHED, _cause(self._process.wait()))

    def _failure(self, state: State, how: str) -> Failure:
        position: Position = self._beacon.read()
        error = "%s, in step '%s'" % (how, position.step) if state is State.CRASHED else how
        last = self._errors.text(wait_s=1.0)
        return Failure(
            state, "%s\n%s" % (error, last) if last else error, position.step, position.index
        )


def _cause(code: int) -> str:
    if code >= 0:
        return "the process exited with code %d" % code
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "signal %d" % -code
    hint = " (the board may be out of memory)" if name == "SIGKILL" else ""
    return "the process was killed by %s%s" % (name, hint)


@contextmanager
def _held_to_cores(threads: Optional[int]) -> Iterator[None]:
    """Keeps this thread on the first `threads` of its cores within the context.

    A process started meanwhile inherits these cores, before its libraries can start any thread.
    """
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _environment(threads: Optional[int]) -> Dict[str, str]:
    counts = {} if threads is None else {name: str(threads) for name in THREAD_VARIABLES}
    return {**os.environ, **counts}


def installed_engines(folder: Path) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Asks every loader whether its engine is installed.

    Args:
        folder: The children's working directory.

    Returns:
        What each engine found says of itself, by name; and further facts: the version of ``numpy``,
        and ``broken_engines``, the errors of engines that are broken, by name.
    """
    engines: Dict[str, Any] = {}
    broken: Dict[str, str] = {}
    facts: Dict[str, Any] = {}
    names = loader_names()
    pending = dict(enumerate(names))
    unlucky: Set[int] = set()

    def on_event(frame: Frame) -> None:
        event = frame.header
        if event["event"] == "numpy":
            facts["numpy"] = event["version"]
            return
        name = pending.pop(event["index"])
        if event["info"] is not None:
            engines[name] = event["info"]
        elif "error" in event:
            broken[name] = event["error"]

    while "numpy" not in facts:
        job = {"job": "probe", "engines": list(pending.items())}
        with Child(job, folder=folder) as child:
            failure = child.attend(on_event, PROBE_TIMEOUT_S)
        if failure is None:
            continue
        if failure.index not in unlucky:  # the child may have been killed by chance: once more
            unlucky.add(failure.index)
        elif failure.index in pending:
            broken[pending.pop(failure.index)] = failure.error
        else:
            return engines, {**facts, "broken_engines": {**broken, "python": failure.error}}
    return engines, {**facts, "broken_engines": broken} if broken else facts
