"""The board that is this machine: a measuring server as a subprocess."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from platformdirs import user_cache_path

from qsdnn.errors import BoardError
from qsdnn.files import replacing
from qsdnn.plan.package import runtime_archive

from .link.board import ServedBoard
from .link.bootstrap import prune
from .link.transport import PipeTransport, Transport
from .spec.spec import Spec

CACHE_VARIABLE = "QSDNN_BOARD_CACHE"
# The environment variables that a process needs to find its files, and to stay on the processor
# that qemu emulates; any other variable could change what engines do.
KEPT_VARIABLES = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "QEMU_CPU",
    "QSDNN_BOARD_LOCK",
    "TMPDIR",
    "USER",
)


class LocalBoard(ServedBoard):
    """Measures on this machine, in processes apart from the caller's.

    The runtime and the artifacts are kept in the user's cache folder, or where the environment
    variable ``QSDNN_BOARD_CACHE`` says.

    Args:
        name: The user's name for the board.
        python_path: Folders with further loaders, ``qsdnn_loader_<engine>``; the measuring server
            and its children can import from these folders besides what is installed.
        spec: The kind of board; any machine with Linux when None.
    """

    performs = False  # somebody works on this machine

    def __init__(
        self, name: str = "local", *, python_path: Sequence[Path] = (), spec: Spec | None = None
    ) -> None:
        super().__init__(name, spec)
        self._python_path = [str(folder.resolve()) for folder in python_path]

    def _start(self) -> Transport:
        root = self._cache()
        try:
            archive = _place_runtime(root)
            environment = {key: os.environ[key] for key in KEPT_VARIABLES if key in os.environ}
            environment["PYTHONPATH"] = os.pathsep.join([str(archive), *self._python_path])
            command = [sys.executable, "-m", "qsdnn_runtime.server", str(root)]
            # `python -m` imports from the working directory too: this one holds nothing to import.
            return PipeTransport(command, environment, archive.parent)
        except OSError as error:
            raise BoardError(
                f"board '{self.name}' cannot be started: {error}",
                hint=f"set {CACHE_VARIABLE} to a folder that can be written",
            ) from error

    def _cache(self) -> Path:
        chosen = os.environ.get(CACHE_VARIABLE)
        return Path(chosen).resolve() if chosen else user_cache_path("qsdnn") / "board"


def _place_runtime(root: Path) -> Path:
    """Path of the runtime's zip in the cache; writes the zip when absent, and removes old ones."""
    archive = runtime_archive()
    folder = root / "runtime"
    path = folder / f"{archive.digest}.zip"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(archive.content)
    os.utime(path)
    prune(folder)
    return path


class LocalFinder:
    """Finds the one local board."""

    def names(self) -> Sequence[str]:
        """See `qsdnn.board.BoardFinder.names`."""
        return ("local",)

    def find(self, name: str) -> LocalBoard | None:
        """See `qsdnn.board.BoardFinder.find`."""
        return LocalBoard(name) if name == "local" else None


FINDER = LocalFinder()
