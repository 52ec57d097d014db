"""A small disk, mounted where a board keeps what is ours. Takes root."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path


class Disk:
    """A file system in memory. A context manager: mounted until its end.

    Args:
        folder: Where; made when missing.
        size_mb: How much it holds.
        files: How many files and folders it holds; any number when 0.

    Raises:
        PermissionError: Nothing may be mounted here.
    """

    def __init__(self, folder: Path, size_mb: int, files: int = 0) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        options = f"size={size_mb}m,nr_inodes={files}"
        command = ["mount", "-t", "tmpfs", "-o", options, "qsdnn-test", str(folder)]
        mounted = subprocess.run(command, capture_output=True, text=True)
        if mounted.returncode:
            raise PermissionError(mounted.stderr.strip())

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_: object) -> None:
        # Processes of the board that are about to end may still have files open there.
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)

    def fill(self, leave_mb: int = 0) -> None:
        """Leaves so much free, as another program does that writes a large file."""
        with suppress_full(), (self._folder / "other").open("ab", buffering=0) as file:
            taken = shutil.disk_usage(self._folder).free - (leave_mb << 20)
            os.posix_fallocate(file.fileno(), 0, max(taken, 1))
            while not leave_mb:
                file.write(bytes(4096))

    def use_up_files(self) -> None:
        """Takes all files that are left."""
        with suppress_full():
            for number in range(1 << 20):
                (self._folder / f"other{number}").touch()

    def free(self) -> None:
        """Gives back what was taken."""
        for path in self._folder.glob("other*"):
            path.unlink()


class suppress_full:
    """Passes over the error of a disk that is full."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        return isinstance(error, OSError) and error.errno == errno.ENOSPC
