"""Sets a board up: the host's side of the conversation with `installer`, and wheels to send."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsdnn.errors import BoardError, QsdnnError
from qsdnn_boards.link.transport import Transport

from .installer import NEWER_PIP
from .script import Script

# How long pip may say nothing: it is silent while it takes a large wheel, or unpacks it.
SILENCE_S = 900.0
# The oldest C libraries that wheels exist for: manylinux2014 is glibc 2.17; musllinux starts at
# 1.1.
OLDEST_GLIBC = 17
OLDEST_MUSL = 1


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


def wheel_platforms(board: BoardPython) -> list[str]:
    """The platform tags of wheels that run on a board, newest first (PEP 600, PEP 656)."""
    machine = board.platform.removeprefix("linux-").replace("-", "_")
    family, version = board.libc
    numbers = [int(part) for part in version.split(".")[:2]] if version else []
    if family == "glibc" and len(numbers) == 2 and numbers[0] == 2:
        newer = [
            f"manylinux_2_{minor}_{machine}" for minor in range(numbers[1], OLDEST_GLIBC - 1, -1)
        ]
        return [*newer, f"manylinux2014_{machine}", f"linux_{machine}"]
    if family == "musl" and len(numbers) == 2:
        minors = range(numbers[1], OLDEST_MUSL - 1, -1)
        return [*(f"musllinux_1_{minor}_{machine}" for minor in minors), f"linux_{machine}"]
    return [f"manylinux2014_{machine}", f"linux_{machine}"]


def download_wheels(
    packages: Sequence[str], board: BoardPython, folder: Path, on_line: Callable[[str], None]
) -> list[Path]:
    """Downloads packages, with what they need, into a folder of the board's kind.

    Args:
        packages: The packages, as pip names them; a package without a wheel is passed over, as the
            board will then say that the package is missing.
        board: The Python that the wheels are for.
        folder: The user's wheelhouse; wheels that it already holds are used.
        on_line: A function that is told each line that pip prints.

    Returns:
        All wheels in the wheelhouse for boards of this kind.

    Raises:
        QsdnnError: There is no wheel.
    """
    version = ".".join(map(str, board.version))
    place = folder / f"py{version}-{board.platform}-{'-'.join(filter(None, board.libc))}"
    place.mkdir(parents=True, exist_ok=True)
    for package in (*packages, NEWER_PIP):  # the board's own pip may be too old
        for line in _pip(package, version, wheel_platforms(board), place):
            on_line(line)
    wheels = sorted(place.glob("*.whl"))
    if not wheels:
        raise QsdnnError(
            f"{place}: no wheel of {', '.join(packages)} could be downloaded",
            hint="check this machine's connection to its package index, or copy wheels there",
        )
    return wheels


def _pip(package: str, version: str, platforms: Sequence[str], place: Path) -> list[str]:
    """Downloads one package; returns the last lines that pip printed."""
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", version]
    command += [word for platform in platforms for word in ("--platform", platform)]
    command += ["--find-links", str(place), "--dest", str(place), package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-3:]
