"""Wheels for a board, downloaded by the host: for boards that have no internet."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from qsdnn.errors import QsdnnError

from .installer import NEWER_PIP
from .setup import BoardPython

# The oldest C libraries that wheels exist for: manylinux2014 is glibc 2.17; musllinux starts at
# 1.1.
OLDEST_GLIBC = 17
OLDEST_MUSL = 1


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
