"""Disturbance: what other processes took from a measurement, told apart from slowness.

Two things are looked at. Threads that could run and had to wait for a processor: beside each run,
so that those disturbed are left out. And what other processes took of the processor meanwhile: a
busy neighbour on another core shares caches and memory, and slows runs down that never waited.
"""

from __future__ import annotations

import operator
import os
import threading
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Collection, Dict, List, Mapping, Optional, Sequence, Tuple, Type

from .readings import ROOT

RUN_SHARE = 0.01
"""Runs that waited for less of their time are not disturbed: medians are asked for within 1 %."""
WAKE_MS = 0.05
"""So long a thread may wait each time it is put on a processor: a sleeping core takes up to that to
wake, on idle machines too, and so does what the kernel itself does now and then. An engine on
several threads may wake them at every layer. Other processes take milliseconds at a time."""
ENOUGH = 3
"""Undisturbed runs that are enough to count alone; `qsdnn.latency.ENOUGH`, its twin on the host."""
WAITED_SHARE = 0.05
"""What waited for more of the time that its runs took was measured under contention."""
OTHERS_SHARE = 0.05
"""So was what was measured while others took more of the processor. An idle system takes 1 to 2 %,
with the display of progress of a search that runs on the board itself."""
STEAL_SHARE = 0.01
"""Likewise of what a hypervisor gave to other machines: less than 1 % is its own housekeeping."""
SLACK_TICKS = 2
"""Ticks more or less that sampling by the clock may make of what was taken in a short time."""
WORKED = 0.01
"""A thread that ran for less of a run did not work for it: its wait delays nobody."""

Work = Tuple[int, int, int]
"""Nanoseconds that a thread ran and that it waited for a processor, and how often it got one."""


class Waits:
    """How long the threads of this process waited for a processor, as Linux's ``schedstat`` tells.

    Its files are kept open until it ends: to read one takes about 1 µs, to open it 15.

    Args:
        root: Where ``/proc`` is.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._folder = str(root / "proc/self/task")
        self._files: Dict[str, int] = {}
        self._last: Dict[str, Work] = {}
        self._main = str(threading.get_native_id())
        self._known = False
        self._lap_ns = 0

    def __enter__(self) -> Waits:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        while self._files:
            os.close(self._files.popitem()[1])

    def refresh(self) -> None:
        """Looks for threads that have started; engines start theirs in their first runs."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return
        for name in names:
            if name not in self._files:
                try:
                    self._files[name] = os.open(
                        os.path.join(self._folder, name, "schedstat"), os.O_RDONLY | os.O_CLOEXEC
                    )
                except OSError:
                    continue

    def lap(self) -> Optional[float]:
        """Milliseconds that a thread waited since the last lap: the most of those that worked.

        Of each time that it waited, `WAKE_MS` are left out.

        Returns:
            None where the system does not tell.
        """
        now_ns, most_ns = perf_counter_ns(), 0.0
        least_ns = WORKED * (now_ns - self._lap_ns)
        self._lap_ns = now_ns
        for name, file in list(self._files.items()):
            work = _work(file)
            if work is None:  # the thread has ended
                os.close(self._files.pop(name))
                self._last.pop(name, None)
                continue
            ran_ns, waited_ns, times = map(operator.sub, work, self._last.get(name, work))
            self._last[name] = work
            self._known = self._known or work[0] > 0  # zeros: a kernel that does not count
            if name == self._main or ran_ns >= least_ns:
                most_ns = max(most_ns, waited_ns - times * WAKE_MS * 1e6)
        return most_ns / 1e6 if self._known else None


def _work(file: int) -> Optional[Work]:
    try:
        ran, waited, times = os.pread(file, 64, 0).split()
        return int(ran), int(waited), int(times)
    except (OSError, ValueError):
        return None


def is_disturbed(waited_ms: Optional[float], run_ms: float) -> bool:
    """Whether a run, or several in a turn, waited too long for a processor to be counted.

    Args:
        waited_ms: How long; None where it is not known.
        run_ms: What it took, the wait in it.
    """
    return waited_ms is not None and waited_ms > RUN_SHARE * run_ms


def undisturbed(runs_ms: Sequence[float], disturbed: Collection[int]) -> List[float]:
    """The runs that count: the undisturbed ones; all where these are not `ENOUGH`.

    Args:
        runs_ms: All.
        disturbed: Numbers of those disturbed.
    """
    kept = [run for number, run in enumerate(runs_ms) if number not in disturbed]
    return kept if len(kept) >= ENOUGH else list(runs_ms)


def taken_by_others(
    before: Mapping[str, Any], after: Mapping[str, Any], own_s: float
) -> Dict[str, float]:
    """What others took of the processor between two readings, where that is known.

    Args:
        before: See `qsdnn_runtime.board.sensors.Sensors.read`.
        after: Likewise.
        own_s: Time that the processor worked for the process that measured.

    Returns:
        ``others_share``, of the whole processor by other processes; ``others_here_share``, the same
        of the cores measured on and those that share their execution units; ``steal_share``, of all
        by other machines of the hypervisor.
    """
    found = {}
    own_ticks = own_s * os.sysconf("SC_CLK_TCK")
    for share, part, whole, own in (
        ("others_share", "busy_ticks", "all_ticks", own_ticks),
        ("others_here_share", "here_busy_ticks", "here_ticks", own_ticks),
        ("steal_share", "steal_ticks", "all_ticks", 0.0),
    ):
        if whole in before and whole in after:
            passed = after[whole] - before[whole]
            taken = after[part] - before[part] - own - SLACK_TICKS
            found[share] = max(taken, 0.0) / passed if passed > 0 else 0.0
    return found


def is_contended(record: Mapping[str, Any]) -> bool:
    """Whether others took so much that a record is not one of a quiet machine.

    Args:
        record: ``runs_ms``, the numbers of those ``disturbed``, and in its ``context`` the shares
            that are known: those of `taken_by_others`, and ``waited_share``.
    """
    disturbed, shares = record.get("disturbed", ()), record["context"]
    return (
        0 < len(disturbed) > len(record["runs_ms"]) - ENOUGH
        or shares.get("waited_share", 0.0) > WAITED_SHARE
        or shares.get("others_share", 0.0) > OTHERS_SHARE
        or shares.get("others_here_share", 0.0) > OTHERS_SHARE
        or shares.get("steal_share", 0.0) > STEAL_SHARE
    )
