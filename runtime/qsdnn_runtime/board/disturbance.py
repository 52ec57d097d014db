"""Disturbance: what other processes took from a measurement, told apart from slowness.

Two things are looked at. First, how long threads that could run had to wait for a processor, beside
each run, so that disturbed runs are left out. Second, what other processes took of the processor
meanwhile: a busy neighbour on another core shares caches and memory, and slows down runs that
never waited.
"""

from __future__ import annotations

import operator
import os
import threading
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Collection, Dict, List, Mapping, Optional, Sequence, Tuple, Type

from .sensors import ROOT

RUN_SHARE = 0.01
"""The share of its time that a disturbed run waited at least: medians are asked for within 1 %."""
WAKE_MS = 0.05
"""The wait in ms that is allowed each time a thread is put on a processor: a sleeping core takes up
to that to wake, on idle machines too, and so does the kernel's own work now and then. An engine on
several threads may wake them at every layer. Other processes take milliseconds at a time."""
ENOUGH = 3
"""The number of undisturbed runs that count alone; its twin on the host: `qsdnn.latency.ENOUGH`."""
WAITED_SHARE = 0.05
"""The share of the runs' time spent waiting above which a measurement was under contention."""
OTHERS_SHARE = 0.05
"""The share of the processor that others took above which a measurement was under contention. An
idle system takes 1 to 2 %, with the display of progress of a search that runs on the board."""
STEAL_SHARE = 0.01
"""The like share that a hypervisor gave to other machines: below 1 % is its own housekeeping."""
SLACK_TICKS = 2
"""The error, in ticks, that sampling by the clock may make of what was taken in a short time."""
WORKED = 0.01
"""The least share of a run for which a working thread ran; the waits of others delay nobody."""

Work = Tuple[int, int, int]
"""A thread's time running (ns), its time waiting for a processor (ns), and how often it got one."""


class Waits:
    """How long the threads of this process waited for a processor, as Linux's ``schedstat`` tells.

    The files of ``schedstat`` stay open until the end: reading one takes about 1 µs, opening one
    15.

    Args:
        root: The folder that holds ``/proc``.
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
        """Looks for threads that have started; engines start their threads in their first runs."""
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
        """Milliseconds that a thread waited since the last lap: the most of any thread that worked.

        `WAKE_MS` are subtracted for each time that the thread waited.

        Returns:
            The wait in ms; None where the system does not tell.
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
        waited_ms: The wait in ms; None where it is not known.
        run_ms: The time of the run in ms, which includes the wait.
    """
    return waited_ms is not None and waited_ms > RUN_SHARE * run_ms


def undisturbed(runs_ms: Sequence[float], disturbed: Collection[int]) -> List[float]:
    """The runs that count: the undisturbed ones, or all when there are fewer than `ENOUGH`.

    Args:
        runs_ms: The times of all runs in ms.
        disturbed: The numbers of the disturbed runs.
    """
    kept = [run for number, run in enumerate(runs_ms) if number not in disturbed]
    return kept if len(kept) >= ENOUGH else list(runs_ms)


def taken_by_others(
    before: Mapping[str, Any], after: Mapping[str, Any], own_s: float
) -> Dict[str, float]:
    """The shares of the processor that others took between two readings, as far as known.

    Args:
        before: The first reading: see `qsdnn_runtime.board.sensors.Sensors.read`.
        after: The second reading.
        own_s: The time in seconds that the processor worked for the process that measured.

    Returns:
        ``others_share``, the share of the whole processor that other processes took;
        ``others_here_share``, their share of the measuring cores and the cores that share execution
        units with these; ``steal_share``, the share of the whole that the hypervisor gave to other
        machines.
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
    """Whether others took so much that a record is not that of a quiet machine.

    Args:
        record: A record with ``runs_ms``, the numbers of its ``disturbed`` runs, and in its
            ``context`` the shares that are known: those of `taken_by_others`, and ``waited_share``.
    """
    disturbed, shares = record.get("disturbed", ()), record["context"]
    return (
        0 < len(disturbed) > len(record["runs_ms"]) - ENOUGH
        or shares.get("waited_share", 0.0) > WAITED_SHARE
        or shares.get("others_share", 0.0) > OTHERS_SHARE
        or shares.get("others_here_share", 0.0) > OTHERS_SHARE
        or shares.get("steal_share", 0.0) > STEAL_SHARE
    )
