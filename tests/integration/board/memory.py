"""A limit to the memory of processes, which the kernel's OOM killer keeps. Takes root."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .server import wait_until

ROOT = Path("/sys/fs/cgroup")


class MemoryLimit:
    """A control group. A context manager; at its end no process may be left in it.

    Args:
        size_mb: The most that its processes may have together.

    Raises:
        PermissionError: None can be made here.
    """

    def __init__(self, size_mb: int) -> None:
        unified = (ROOT / "cgroup.controllers").exists()
        self._limit, self._told = (
            ("memory.max", "memory.events")
            if unified
            else ("memory.limit_in_bytes", "memory.oom_control")
        )
        self._folder = (ROOT if unified else ROOT / "memory") / f"qsdnn-test-{os.getpid()}"
        try:
            if unified:
                (ROOT / "cgroup.subtree_control").write_text("+memory")
            self._folder.mkdir()
            self._set(size_mb)
        except OSError as error:
            with suppress(OSError):
                self._folder.rmdir()
            raise PermissionError(str(error)) from error
        with suppress(OSError):  # where there is swap
            (self._folder / "memory.swap.max").write_text("0")

    def __enter__(self) -> MemoryLimit:
        return self

    def __exit__(self, *_: object) -> None:
        wait_until(lambda: not (self._folder / "cgroup.procs").read_text())
        self._folder.rmdir()

    def hold(self, pid: int) -> None:
        """Limits a process, and all that it starts from now on."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def lift(self) -> None:
        """Lets them have what they want."""
        self._set(1 << 20)

    @property
    def kills(self) -> int:
        """How many of them the OOM killer has killed."""
        rows = (line.split() for line in (self._folder / self._told).read_text().splitlines())
        return int(dict(rows).get("oom_kill", 0))

    def _set(self, size_mb: int) -> None:
        (self._folder / self._limit).write_text(str(size_mb << 20))
