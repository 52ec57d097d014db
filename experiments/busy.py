"""Processes that keep cores busy: half arithmetic in the caches, half streaming through memory.

    python experiments/busy.py 2                   # two, until Ctrl-C
    python experiments/busy.py 1 -- make demo      # one, while a command runs
    python experiments/busy.py 2 --pinned -- ...   # each on a core of its own

Of each 20 ms a process multiplies matrices of 64 KB for a half, and copies 64 MB to and fro in the
other. The kernel ends them with the process that started them, however that ends.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

HALF_S = 0.01
STREAMED_BYTES = 64 << 20
CHUNK_BYTES = 2 << 20
PR_SET_PDEATHSIG = 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--pinned", action="store_true")
    parser.add_argument("--burn", type=int, metavar="PARENT", help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="*")
    asked = parser.parse_args()
    if asked.burn is not None:
        burn(asked.burn)
    with busy(asked.count, pinned=asked.pinned):
        if asked.command:
            raise SystemExit(subprocess.run(asked.command, check=False).returncode)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


@contextmanager
def busy(count, *, pinned=False):
    """So many busy processes while the body runs; None of them may end before."""
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, __file__, "0", "--burn", str(os.getpid())]
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen(command, env=one_thread) for _ in range(count)]
    try:
        for number, process in enumerate(processes):
            if pinned:
                os.sched_setaffinity(process.pid, {cores[number % len(cores)]})
        time.sleep(1.0 if count else 0.0)  # numpy is imported
        yield
        ended = [process.returncode for process in processes if process.poll() is not None]
        if ended:
            raise RuntimeError(f"a busy process ended by itself: {ended}")
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def burn(parent):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit
    import numpy as np

    matrix = np.full((128, 128), 0.5, np.float32)
    product = np.empty_like(matrix)
    here, there = (np.ones(STREAMED_BYTES // 2, np.uint8) for _ in range(2))
    place = 0
    while True:
        end_s = time.monotonic() + HALF_S
        while time.monotonic() < end_s:
            np.matmul(matrix, matrix, out=product)
        end_s += HALF_S
        while time.monotonic() < end_s:
            np.copyto(there[place : place + CHUNK_BYTES], here[place : place + CHUNK_BYTES])
            place = (place + CHUNK_BYTES) % len(here)
            if not place:
                here, there = there, here


def busy_cores(seconds=1.0):
    """How many cores' worth of time other processes take now."""
    before, idle_before = _jiffies()
    time.sleep(seconds)
    after, idle_after = _jiffies()
    share = 1 - (idle_after - idle_before) / max(1, after - before)
    return share * os.cpu_count()


def _jiffies():
    """Of all cores: in all, and idle."""
    with open("/proc/stat", encoding="ascii") as lines:
        counts = [int(count) for count in lines.readline().split()[1:9]]  # guests' are in users'
    return sum(counts), counts[3] + counts[4]


def quiet(most=0.15, patience_s=60.0):
    """Waits until nothing else runs; tells how many cores are busy, whether that came or not."""
    end_s = time.monotonic() + patience_s
    while (cores := busy_cores()) > most and time.monotonic() < end_s:
        pass
    return cores


if __name__ == "__main__":
    main()
