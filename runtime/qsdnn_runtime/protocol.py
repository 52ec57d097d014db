"""The protocol between host and board: the definitions that both sides must share.

Messages are frames (`qsdnn_runtime.frames`); `qsdnn_runtime.server` lists the requests and their
answers. The host takes these definitions from here: see `qsdnn.board`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Dict, List, Mapping, Optional, Sequence, TypedDict

VERSION = 4
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


class Context(TypedDict, total=False):
    """Under what a package was measured; a field is absent where it is not known.

    Attributes:
        threads: Threads that engines might use.
        cores: Numbers of the cores that the process was held to.
        before: What the sensors said when the timed runs began: see
            `qsdnn_runtime.board.sensors.Sensors.read`.
        after: What the sensors said when they ended.
        during: What the sensors said meanwhile: ``samples``, their number, and by quantity the
            ``min``, ``mean`` and ``max``.
        power_mw: Mean power by rail.
        supply: Names of the rails that carry all of the board's power.
        performance: What holds of each setting of the performance mode: see
            `qsdnn_runtime.board.knob.report`.
        cooling: How long a cool board was waited for, and to which temperature.
        passes: How often the group was measured.
        sittings: Counted runs in each process that took part.
        process_peak_mb: Most memory that the process took, with all that was loaded at once.
        involuntary_switches: How often another process or the kernel took a thread's core.
        disturbed_runs: Runs that waited for a processor that others took.
        waited_share: Share of the runs' time that was spent waiting for a processor.
        others_share: Share of the whole processor that other processes took.
        others_here_share: The same share of the cores that the process was held to.
        steal_share: Share of the processor that the hypervisor gave to other machines.
        profile_error: Why layers could not be timed.
        notes: What the board has to say to the user.
        anchors_sittings_ms: Runs of each sitting of the packages of known latency that the package
            was measured beside, by digest. This and what follows is added by the host.
        anchors_disturbed: Numbers of their runs that were disturbed, by digest.
        anchors_apart: Digests of those that were in processes of their own, for lack of room: their
            sittings took turns with the package's, their runs did not.
        taken_at_s: When it was measured, in seconds since 1970.
    """

    threads: int
    cores: List[int]
    before: Dict[str, Any]
    after: Dict[str, Any]
    during: Dict[str, Any]
    power_mw: Dict[str, float]
    supply: List[str]
    performance: List[Any]
    cooling: Dict[str, Any]
    passes: int
    sittings: List[int]
    process_peak_mb: Optional[float]
    involuntary_switches: int
    disturbed_runs: int
    waited_share: float
    others_share: float
    others_here_share: float
    steal_share: float
    profile_error: str
    notes: List[str]
    anchors_sittings_ms: Dict[str, Sequence[Sequence[float]]]
    anchors_disturbed: Dict[str, Sequence[int]]
    anchors_apart: List[str]
    taken_at_s: float


class ProtocolError(Exception):
    """A request was not done.

    Args:
        message: The reason, for the host's user.
        code: The reason, for the host's program.
    """

    def __init__(self, message: str, code: Code = Code.REFUSED) -> None:
        super().__init__(message)
        self.code = code


def error_answer(op: Any, error: Exception) -> Dict[str, Any]:
    """The header of an answer that says why a request was not done."""
    code = error.code if isinstance(error, ProtocolError) else Code.REFUSED
    return {"op": op, "code": code.value, "message": str(error)}


def code_of(header: Mapping[str, Any]) -> Code:
    """The code in the header of an answer from `error_answer`."""
    return Code(header.get("code", Code.REFUSED.value))
