"""Processes of this machine, told apart from later ones with the same number, and their threads.

This file imports the standard library only: a host also sends its text, to end a measuring server.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import List, Optional

# A server that is asked to end restores the board first, which takes commands of the board.
ASKED_S = 10.0
KILLED_S = 5.0
POLL_S = 0.05
WORKER = b"qsdnn_runtime.server.worker"
TASKS = "/proc/self/task"


@dataclass(frozen=True)
class Process:
    """A process, identified by its number and its start.

    Attributes:
        pid: The number of the process.
        started: The start of the process, in clock ticks since the boot: field 22 of its ``stat``.
    """

    pid: int
    started: int

    @classmethod
    def running(cls, pid: int) -> Process:
        """The process that has this number now; a process that does not live when there is none."""
        fields = _fields(pid)
        return cls(pid, int(fields[19]) if fields else 0)

    @property
    def state(self) -> str:
        """The process's state as ``ps`` has it; empty when it is gone, or cannot be looked at."""
        fields = _fields(self.pid)
        return fields[0] if fields and int(fields[19]) == self.started else ""

    @property
    def lives(self) -> bool:
        """Whether the process has not ended."""
        return self.state not in ("", "Z")

    @property
    def is_stopped(self) -> bool:
        """Whether a signal, not a debugger, stopped the process."""
        return self.state == "T"

    @property
    def is_ours(self) -> bool:
        """Whether the process is one of this user."""
        try:
            return os.stat("/proc/%d" % self.pid).st_uid == os.geteuid()
        except OSError:
            return False

    def end(self) -> bool:
        """Asks the process to end, wakes it in case it is stopped, and kills it when nothing helps.

        Returns:
            Whether the process has ended.
        """
        steps = ((signal.SIGTERM, signal.SIGCONT), ASKED_S), ((signal.SIGKILL,), KILLED_S)
        for numbers, patience_s in steps:
            for number in numbers:
                self._send(number)
            deadline = time.monotonic() + patience_s
            while self.lives and time.monotonic() < deadline:
                time.sleep(POLL_S)
        return not self.lives

    def _send(self, number: int) -> None:
        if self.lives and self.is_ours:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def parent_of(pid: int) -> Optional[int]:
    """The parent of a process: its starter, or who took it over; None when the process is gone."""
    fields = _fields(pid)
    return int(fields[1]) if fields else None


def _fields(pid: int) -> List[str]:
    """A process's ``stat`` from field 3 on: the name before may hold blanks and brackets."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def end_orphans() -> List[int]:
    """Kills children of a measuring server that is gone, if they are this user's.

    They were stopped before they could ask to die with their server.

    Returns:
        The numbers of the killed processes.
    """
    found = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    ended = []
    for pid in filter(_is_orphan, found):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            ended.append(pid)
    return ended


def _is_orphan(pid: int) -> bool:
    """Whether a process is a child whose present parent is not the process that started it."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    if words[1:3] != [b"-m", WORKER] or len(words) < 5:
        return False
    return parent_of(pid) not in (None, int(words[4]))


def settle_workers(threads: int) -> None:
    """Leaves all cores but the first to the process's native threads that have started by now.

    Where a process has only as many cores as its engines have threads, the kernel may put a worker
    that it wakes on the core of the thread that waits for that worker, though another core is idle,
    until the kernel's next tick. A plan wakes other workers at each segment: on two cores, plans of
    a dozen segments took 1.5 to 1.8 times as long, in steps of 4 ms; a single engine took the same
    time.

    OpenBLAS's threads start when numpy is imported: nothing tells which threads are an engine's.
    Python's own threads stay where they are. Nothing is done where the process may use more or
    fewer cores than its engines have threads, and on systems other than Linux.

    Args:
        threads: The number of threads that an engine may use.
    """
    if threads < 2 or not os.path.isdir(TASKS):
        return
    others = sorted(os.sched_getaffinity(0))[1:]
    if len(others) != threads - 1:
        return
    python = {thread.native_id for thread in threading.enumerate()}
    for task in {int(name) for name in os.listdir(TASKS)} - python:
        with suppress(OSError):  # the thread has ended
            os.sched_setaffinity(task, others)
