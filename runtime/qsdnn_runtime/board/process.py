"""A process of this machine, told apart from a later process with the same number.

This file imports the standard library only: a host also sends its text, to end a measuring server.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import List, Optional

# A server that is asked to end restores the board first, which takes commands of the board.
ASKED_S = 10.0
KILLED_S = 5.0
POLL_S = 0.05


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
