"""The emulated board leaves nothing behind on the machine that emulates it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.board.server import are_gone, descendants, wait_until

from .board import EmulatedBoard
from .root import cache_folder

ROOT = Path(__file__).parents[3]


def folders() -> set[Path]:
    return set(cache_folder().glob("run-*"))


@pytest.fixture
def started(release: str) -> Iterator[subprocess.Popen[str]]:
    """A board of another process."""
    command = [sys.executable, "-m", "tests.integration.arm64.board", release]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "qsdnn boards add" in process.stdout.readline()
        yield process
        process.kill()


def test_a_board_that_ends(started: subprocess.Popen[str]) -> None:
    pids = descendants(started.pid)
    assert len(pids) > 1
    started.send_signal(signal.SIGTERM)
    assert started.wait() == 0
    assert are_gone(pids)


def test_a_board_whose_process_is_killed(started: subprocess.Popen[str], release: str) -> None:
    pids, before = descendants(started.pid), folders()
    started.kill()
    started.wait()
    wait_until(lambda: are_gone(pids))
    assert str(cache_folder()) not in Path("/proc/self/mountinfo").read_text()
    with EmulatedBoard(release):
        assert not before & folders()


REMOVE = """
set -e
mkdir -p {folder}/mounted
mount -t tmpfs tmpfs {folder}/mounted
touch {folder}/mounted/kept
! {python} -c "from tests.integration.arm64.root import *; remove(Path('{folder}'))"
ls {folder}/mounted
"""


def test_what_is_mounted_is_never_removed(tmp_path: Path, release: str) -> None:
    script = REMOVE.format(folder=tmp_path / "root", python=sys.executable)
    command = ["unshare", "--mount", "sh", "-c", script]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "kept\n"
    assert "mounted in a folder that was to be removed" in ran.stderr
