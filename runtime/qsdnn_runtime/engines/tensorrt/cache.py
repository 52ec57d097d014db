"""Built engines and timings of kernels, kept on the board: to build one engine takes minutes.

Both hold for one GPU and one version of TensorRT only. Not run on hardware yet.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Optional

CAP_BYTES = 4 * 10**9
"""The size of all engines above which those that were used longest ago are removed."""

_ENGINE, _TIMINGS = ".engine", ".timings"


def cache_folder() -> Path:
    """The folder of the engines, inside the folder of what is kept on this board."""
    chosen = os.environ.get("QSDNN_BOARD_CACHE")
    if chosen:
        return Path(chosen).resolve() / "tensorrt"
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "qsdnn" / "board" / "tensorrt"


class BuildCache:
    """The engines and timings of one GPU and one version of TensorRT.

    Args:
        folder: The folder to keep files in; made when something is kept.
        machine: What identifies the GPU and TensorRT.
        cap_bytes: The size that all engines together may have.
    """

    def __init__(self, folder: Path, machine: str, cap_bytes: int = CAP_BYTES) -> None:
        self._folder = folder
        self._machine = machine
        self._cap_bytes = cap_bytes

    def engine(self, artifact: Path, settings: str) -> Path:
        """The file of the engine that is built of an artifact with some settings.

        Weights beside the artifact are part of its name there, which is the hash of their content.
        """
        digest = hashlib.sha256(artifact.read_bytes())
        digest.update(("\n%s\n%s" % (self._machine, settings)).encode())
        return self._folder / (digest.hexdigest() + _ENGINE)

    def timings(self) -> Path:
        """The file of the timings of kernels."""
        digest = hashlib.sha256(self._machine.encode()).hexdigest()
        return self._folder / (digest + _TIMINGS)

    def read(self, file: Path) -> Optional[bytes]:
        """The content of a file; None where it is missing. It counts as used now."""
        try:
            content = file.read_bytes()
            os.utime(str(file))
        except OSError:
            return None
        return content

    def write(self, file: Path, content: bytes) -> None:
        """Keeps a file whole or not at all; a disk that is full keeps nothing, which is no error.

        Then removes engines until the rest has the size allowed.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            number, part = tempfile.mkstemp(dir=str(self._folder))
        except OSError:
            return
        try:
            with os.fdopen(number, "wb") as stream:
                stream.write(content)
            os.replace(part, str(file))
        except OSError:
            os.unlink(part)
        self._prune()

    def _prune(self) -> None:
        found = [(file, file.stat()) for file in self._folder.glob("*" + _ENGINE)]
        total = sum(told.st_size for _, told in found)
        for file, told in sorted(found, key=lambda one: one[1].st_mtime):
            if total <= self._cap_bytes:
                return
            total -= told.st_size
            try:
                file.unlink()
            except OSError:  # another process removed it
                continue
