"""Worker threads of engines, kept off the core that their caller runs on.

Where a process has only as many cores as its engines have threads, the kernel may put a worker that
it wakes on the core of the thread that waits for that worker, though another core is idle, until
the kernel's next tick. A plan wakes other workers at each segment: on two cores, plans of a dozen
segments took 1.5 to 1.8 times as long, in steps of 4 ms; a single engine took the same time.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress

TASKS = "/proc/self/task"


def settle_workers(threads: int) -> None:
    """Leaves all cores but the first to the process's native threads that have started by now.

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
