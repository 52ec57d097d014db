"""The protocol between host and board: what both sides must mean the same by.

Messages are frames (`qsdnn_runtime.frames`); `qsdnn_runtime.server` lists the requests and their
answers. The host takes these definitions from here: see `qsdnn.board`.
"""

from __future__ import annotations

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
