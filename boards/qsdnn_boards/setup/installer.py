"""Runs on a board: makes a virtual environment and installs packages into it with pip.

See `script`:

- The installer says its ``python``, ``platform`` and ``libc``.
- The host says ``packages``, and ``wheels`` as pairs of name and size in bytes, or no wheels for
  the board's own package index; then the host sends the wheels, one behind the other.
- The installer answers ``line`` with each line that pip prints, ``package`` and ``error`` after
  each package (``error`` is empty when the package was installed), and at the end ``environment``,
  the Python that has the packages.
- When the installer must stop before that, it answers ``stopped``, with the reason.
"""

from __future__ import annotations

import json
import os
import platform
import struct
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

KEPT_LINES = 8
# The first pip that knows the tags of today's wheels (PEP 600); Ubuntu 20.04 has pip 20.0.
OLDEST_PIP = (20, 3)
# The same pip or a newer one, but none that needs a newer Python than 3.8.
NEWER_PIP = "pip>=20.3,<25.1"
CHUNK_BYTES = 1 << 20


def describe() -> dict[str, Any]:
    """What decides which wheels fit this board."""
    tag = sysconfig.get_platform()
    if struct.calcsize("P") == 4 and tag == "linux-aarch64":
        tag = "linux-armv7l"  # a 32-bit system on a 64-bit kernel
    return {
        "python": list(sys.version_info[:2]),
        "platform": tag,
        "libc": list(platform.libc_ver()),
    }


def environment_folder() -> Path:
    """The folder of the virtual environment, in the user's data folder."""
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "qsdnn" / "venv"


def make_environment(folder: Path) -> Path:
    """The Python of the virtual environment, which is made if absent and mended if half made."""
    python = folder / "bin" / "python"
    if Path(sys.prefix).resolve() != folder.resolve():
        error = run([sys.executable, "-m", "venv", str(folder)])
        if error:
            stop(error)
    return python


def renew_pip(python: Path, wheels: Path | None) -> None:
    """Installs a newer pip when the present one is too old; keeps the old one if that fails."""
    words = subprocess.check_output([str(python), "-m", "pip", "--version"]).split()
    version = tuple(int(part) for part in words[1].split(b".")[:2])
    if version < OLDEST_PIP:
        install(python, NEWER_PIP, wheels)


def install(python: Path, package: str, wheels: Path | None) -> str:
    """Installs one package; returns the error, or an empty text when the package was installed.

    Only wheels are installed: a board would need hours to build a package without a wheel.
    """
    source = [] if wheels is None else ["--no-index", "--find-links", str(wheels)]
    pip = [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    return run([*pip, "--only-binary", ":all:", *source, package])


def run(command: Sequence[str]) -> str:
    """Runs a command and passes on what it prints; returns its last lines when it fails."""
    last: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                text = line.decode(errors="replace").rstrip()
                last = [*last, text][-KEPT_LINES:]
                say({"line": text})
        except OSError:  # the host is gone
            process.kill()
            raise
    return "\n".join(last) or "it failed without a word" if process.returncode else ""


def receive(stream: BinaryIO, wheels: Sequence[tuple[str, int]], folder: Path) -> None:
    """Takes the wheels from the host, into a folder."""
    for name, size_bytes in wheels:
        with (folder / Path(name).name).open("wb") as file:
            rest = size_bytes
            while rest:
                piece = stream.read(min(rest, CHUNK_BYTES))
                if not piece:
                    sys.exit(1)  # the host is gone
                file.write(piece)
                rest -= len(piece)


def say(answer: dict[str, Any]) -> None:
    """Sends an answer to the host."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def stop(reason: str) -> None:
    """Tells the host why the installer cannot go on, and ends."""
    say({"stopped": reason})
    sys.exit(1)


def main() -> None:
    """Serves one host, once."""
    say(describe())
    stream = open(0, "rb", closefd=False)  # noqa: SIM115 - ends with the process
    request = json.loads(stream.readline() or b"null")
    if request is None:
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            wheels = Path(folder) if request["wheels"] else None
            receive(stream, request["wheels"], Path(folder))
            python = make_environment(environment_folder())
            renew_pip(python, wheels)
            for package in request["packages"]:
                say({"package": package, "error": install(python, package, wheels)})
            say({"environment": str(python)})
    except (OSError, subprocess.CalledProcessError) as error:
        stop(str(error))


if __name__ == "__main__":
    main()
