"""An emulated board of each release that was asked for, and a user of it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .board import EmulatedBoard
from .root import debian_root

ASKED = [name for name in os.environ.get("QSDNN_ARM64", "").split(",") if name]
UNASKED = pytest.mark.skip(reason="takes a quarter of an hour: make test-arm64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session", params=ASKED or [pytest.param("", marks=UNASKED)])
def release(request: pytest.FixtureRequest) -> str:
    release = str(request.param)
    debian_root(release)
    return release


@pytest.fixture(scope="session")
def board(release: str) -> Iterator[EmulatedBoard]:
    with EmulatedBoard(release) as board:
        yield board


@pytest.fixture(scope="session")
def home(release: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's, on this machine."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def qsdnn(home: Path) -> Callable[..., Ran]:
    """Runs a command at home; what it says becomes part of the test's output."""
    config = os.environ.get("XDG_CONFIG_HOME") or str(
        Path.home() / ".config"
    )  # pip has a file there
    environment = {
        **os.environ,
        "HOME": str(home),
        "XDG_CONFIG_HOME": config,
        "QSDNN_CONFIG": str(home / "config"),
        "QSDNN_STORE": str(home / "store.db"),
        "COLUMNS": "140",
    }
    environment.pop("SSH_AUTH_SOCK", None)

    def run(*words: object) -> Ran:
        line = [str(word) for word in words]
        print("$", shlex.join(["qsdnn", *line]))
        ran = subprocess.run(
            [sys.executable, "-m", "qsdnn", *line],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
        )
        print(ran.stderr + ran.stdout)
        return Ran(code=ran.returncode, out=ran.stdout, err=ran.stderr)

    return run
