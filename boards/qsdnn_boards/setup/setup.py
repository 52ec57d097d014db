"""Sets a board up: the host's side of the conversation with `installer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsdnn.errors import BoardError
from qsdnn_boards.link.transport import Transport

from .script import Script

# How long pip may say nothing: it is silent while it takes a large wheel, or unpacks it.
SILENCE_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardPython:
    """What decides which wheels fit a board.

    Attributes:
        version: The major and minor version of the board's Python.
        platform: The platform as Python names it: ``linux-aarch64``.
        libc: The C library's name and version: ``("glibc", "2.31")``; empty texts when not known.
    """

    version: tuple[int, int]
    platform: str
    libc: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The outcome of an installation.

    Attributes:
        python: The path of the environment's Python, on the board.
        errors: The error of each package, by package name; empty for packages that were installed.
    """

    python: str
    errors: Mapping[str, str]


class Setup:
    """A conversation with the installer on one board; use it as a context manager.

    Args:
        name: The board's name, for messages.
        transport: The transport to the board's Python: see `Script`.

    Raises:
        BoardError: The board was lost.
    """

    def __init__(self, name: str, transport: Transport) -> None:
        self._name = name
        self._script = Script(name, transport, "installer.py", SILENCE_S)

    def __enter__(self) -> Setup:
        return self

    def __exit__(self, *error: object) -> None:
        self._script.__exit__(*error)

    def begin(self) -> BoardPython:
        """What decides which wheels the board needs; to be called first.

        Raises:
            BoardError: The installer does not start.
        """
        answer = next(self._script.answers)
        major, minor = answer["python"]
        libc, version = answer["libc"]
        return BoardPython(
            version=(major, minor), platform=answer["platform"], libc=(libc, version)
        )

    def install(
        self, packages: Sequence[str], wheels: Sequence[Path], on_line: Callable[[str], None]
    ) -> Installed:
        """Makes the environment and installs packages into it, one after the other.

        Args:
            packages: The packages, as pip names them.
            wheels: The wheels to install from; empty for the board's own package index.
            on_line: A function that is told each line that pip prints.

        Raises:
            BoardError: There is no environment: the board was lost, or cannot make one.
        """
        pairs = [(path.name, path.stat().st_size) for path in wheels]
        self._script.tell({"packages": list(packages), "wheels": pairs})
        for number, path in enumerate(wheels, 1):
            on_line(f"sending {path.name} ({number} of {len(wheels)})")
            self._script.send(path)
        errors: dict[str, str] = {}
        for answer in self._script.answers:
            if "line" in answer:
                on_line(answer["line"])
            elif "package" in answer:
                errors[answer["package"]] = answer["error"]
            elif "stopped" in answer:
                raise self._stopped(answer["stopped"])
            else:
                break
        return Installed(python=answer["environment"], errors=errors)

    def _stopped(self, reason: str) -> BoardError:
        venv = "ensurepip" in reason or "No module named venv" in reason
        fix = "on the board: sudo apt-get install python3-venv" if venv else "free some space there"
        return BoardError(
            f"board '{self._name}': no virtual environment can be made: {reason}", hint=fix
        )
