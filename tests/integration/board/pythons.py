"""Older Pythons of this machine, with the newest numpy and onnxruntime there are for them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_cache_path

from qsdnn_boards.link.transport import PipeTransport
from qsdnn_boards.setup.setup import Setup
from qsdnn_boards.ssh.board import READER
from tests.integration.arm64.root import locked

PACKAGES = ("numpy", "onnxruntime")
PROGRAM = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"


def find_python(version: str) -> str | None:
    """One that works: on the path, or one of pyenv's, active or not."""
    for python in _candidates(version):
        asked = [python, "-c", PROGRAM]
        if subprocess.run(asked, capture_output=True, text=True).stdout.strip() == version:
            return python
    return None


def environment(version: str, python: str) -> Path:
    """The Python of a virtual environment in the user's cache folder, made by our own installer."""
    folder = user_cache_path("qsdnn") / "tests" / f"python{version}"
    made = folder / "qsdnn" / "venv" / "bin" / "python"
    done = folder / "done"
    with locked(folder / "lock"):
        if not done.exists():
            variables = {**os.environ, "XDG_DATA_HOME": str(folder)}
            with Setup(version, PipeTransport([python, "-c", READER], variables, folder)) as setup:
                setup.begin()
                installed = setup.install(PACKAGES, [], print)
            assert not any(installed.errors.values()), installed.errors
            done.touch()
    return made


def _candidates(version: str) -> Iterator[str]:
    name = f"python{version}"
    if found := shutil.which(name):
        yield found
    if pyenv := shutil.which("pyenv"):
        told = subprocess.run([pyenv, "root"], capture_output=True, text=True).stdout.strip()
        yield from map(str, sorted(Path(told).glob(f"versions/{version}*/bin/{name}")))
