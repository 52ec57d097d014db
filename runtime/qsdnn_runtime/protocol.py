"""The protocol between host and board: what both sides must mean the same by.

Messages are frames (`qsdnn_runtime.frames`); `qsdnn_runtime.server` lists the requests and their
answers. The host takes these definitions from here: see `qsdnn.board`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Dict, Mapping

VERSION = 3
"""Both sides greet with it; a server of another version is not spoken to."""


class _Word(str, Enum):
    """A word of the protocol; printed, it is the word alone."""

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
    """What a child process does: of a measurement that ended badly, what it was doing then.

    Only in ``START`` no package is to blame.
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
    """The request is not one that the server can do; its message says why."""
    BUSY = "busy"
    """Another host measures on the board."""
    FAILED = "failed"
    """What was to run failed; the board is as well as before."""
    DISK_FULL = "disk_full"
    """The board's disk has no room for what was sent, or for what a run writes."""


@dataclass(frozen=True)
class MeasureOptions:
    """How to measure a group of packages, interleaved with one another.

    Attributes:
        threads: Threads an engine may use; the process is held to as many cores.
        warmup: Runs of each package that are not counted.
        min_runs: Counted runs at the least.
        max_runs: Counted runs at the most.
        precision: Stop when each 95 % interval of the median is within this share of it.
        budget_s: Stop after so long, for the group.
        timeout_s: Longest one load or one run may take before its package is given up.
        profile: Also time each layer in runs of their own, and read back what was executed.
        again: How often at the most the group is measured again while a record of it is noisy or
            throttled, then after cooling; the best of these is taken, whole.
        sittings: Processes that share the runs and the budget, one after another, with packages
            loaded in another order: where memory happens to lie in one favours some of them.
        memory: Also run each package in a process of its own, to see how much memory it takes.
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
    """A request that is not done.

    Args:
        message: For the host's user.
        code: Why, for the host.
    """

    def __init__(self, message: str, code: Code = Code.REFUSED) -> None:
        super().__init__(message)
        self.code = code


def error_answer(op: Any, error: Exception, code: Code = Code.REFUSED) -> Dict[str, Any]:
    """The header of an answer that says why a request was not done."""
    code = error.code if isinstance(error, ProtocolError) else code
    return {"op": op, "code": code.value, "message": str(error)}


def code_of(header: Mapping[str, Any]) -> Code:
    """The code in the header of such an answer."""
    return Code(header.get("code", Code.REFUSED.value))
