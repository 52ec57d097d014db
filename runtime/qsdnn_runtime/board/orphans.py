"""Children of a measuring server that is gone: stopped before they could ask to die with it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import List

from .process import parent_of

WORKER = b"qsdnn_runtime.server.worker"


def end_orphans() -> List[int]:
    """Kills orphaned children, if they are this user's.

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
