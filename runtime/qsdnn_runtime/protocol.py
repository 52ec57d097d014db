"""The protocol between host and board: the definitions that both sides must share.

Messages are frames (`qsdnn_runtime.frames`); `qsdnn_runtime.server` lists the requests and their
answers. The host takes these definitions from here: see `qsdnn.board`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Dict, Mapping

VERSION = 3
"""Each side's greeting has this version; neither side speaks with another version."""


class _Word(str, Enum):
    """A word of the protocol, which prints as the word alone."""

    def __str__(self) -> str:
        return str(self.value)


class State(_Word):
    """How a measurement ended."""

    OK = "ok"
    UNSUPPORTED = "unsupported"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    WRONG_OUTPUT = "wrong_output"
    BOARD_LOST = "board_lost"


class Trust(_Word):
    """How far a latency may be believed."""

    STABLE = "stable"
    NOISY = "noisy"
    DISTURBED = "disturbed"
    THROTTLED = "throttled"


class Step(_Word):
    """The step that a child process is in, or was in when a measurement ended badly.

    Only a failure in ``START`` is no package's fault.
    """

    START = "start"
    PROBE = "probe"
    LOAD = "load"
    CHECK = "check"
    RUN = "run"
    PROFILE = "profile"
    REPORT = "report"
    CLOSE = "close"


class Code(_Word):
    """Why a request was not done."""

    REFUSED = "refused"
    """The server cannot do the request; the message says why."""
    BUSY = "busy"
    """Another host measures on the board."""
    FAILED = "failed"
    """The run failed; the board is as well as before."""
    DISK_FULL = "disk_full"
    """The board's disk has no room for what was sent, or for what a run writes."""


@dataclass(frozen=True)
class MeasureOptions:
    """How to measure a group of packages, interleaved with one another.

    Attributes:
        threads: The number of threads an engine may use, and of cores the process may use.
        warmup: The number of runs of each package that are not counted.
        min_runs: The least number of counted runs of each package.
        max_runs: The greatest number of counted runs of each package.
        precision: The share of the median within which each median's 95 % interval must lie to
            stop.
        budget_s: The time after which to stop, for the group.
        timeout_s: The longest time of one load or one run; after it the package is given up.
        profile: Whether to also time each layer, in separate runs, and read back what was executed.
        again: The greatest number of times the group is measured again while a record of it is
            noisy or throttled, the latter after cooling; the best of these passes is taken as a
            whole.
        sittings: The number of processes that share the runs and the budget, one after another,
            with packages loaded in another order: the places of memory in one process favour some
            packages.
        memory: Whether to also run each package in a process of its own, to see its peak memory.
    """

    threads: int = 1
    warmup: int = 2
    min_runs: int = 5
    max_runs: int = 200
    precision: float = 0.01
    budget_s: float = 10.0
    timeout_s: float = 120.0
    profile: bool = False
    again: int = 1
    sittings: int = 1
    memory: bool = False


class ProtocolError(Exception):
    """A request was not done.

    Args:
        message: The reason, for the host's user.
        code: The reason, for the host's program.
    """

    def __init__(self, message: str, code: Code = Code.REFUSED) -> None:
        super().__init__(message)
        self.code = code


def error_answer(op: Any, error: Exception, code: Code = Code.REFUSED) -> Dict[str, Any]:
    """The header of an answer that says why a request was not done."""
    code = error.code if isinstance(error, ProtocolError) else code
    return {"op": op, "code": code.value, "message": str(error)}


def code_of(header: Mapping[str, Any]) -> Code:
    """The code in the header of an answer from `error_answer`."""
    return Code(header.get("code", Code.REFUSED.value))
