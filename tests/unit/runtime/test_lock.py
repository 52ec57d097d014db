"""The board's lock, held by processes of their own that die, stop, and belong to others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from qsdnn_runtime.board import lock as lock_module
from qsdnn_runtime.board.lock import BoardLock, LockError, lock_path
from qsdnn_runtime.board.process import Process

# A guard against waiting for ever, not a measure of anything.
PATIENCE_S = 60.0
US = {"session": "ours", "user": "bob", "host": "desk", "process": 7, "purpose": "replay"}
THEM = {"session": "theirs", "user": "alice", "host": "laptop", "process": 42, "purpose": "search"}
NOBODY = 65534
HOLDER = """
import json, signal, sys
from pathlib import Path
from qsdnn_runtime.board.lock import BoardLock

lock = BoardLock(Path(sys.argv[1]))
print(lock.take(json.loads(sys.argv[2])), flush=True)
while True:
    signal.pause()
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def lock(path: Path) -> Iterator[BoardLock]:
    lock = BoardLock(path)
    yield lock
    lock.release()


@contextmanager
def running(command: list[str], **options) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def holder(path: Path, **options) -> Iterator[subprocess.Popen[str]]:
    """Another agent, which has the lock."""
    with running([sys.executable, "-c", HOLDER, str(path), json.dumps(THEM)], **options) as process:
        assert process.stdout is not None and process.stdout.readline() == "\n"
        yield process


def stop(process: subprocess.Popen[str]) -> Process:
    process.send_signal(signal.SIGSTOP)
    known = Process.running(process.pid)
    deadline = time.monotonic() + PATIENCE_S
    while not known.is_stopped:
        assert time.monotonic() < deadline
    return known


def test_the_second_is_told_who_has_it_and_gets_it_when_that_one_dies(path, lock):
    with holder(path) as other:
        told = lock.take(US)
        assert (
            told == "alice on laptop (process 42, search) has measured there for less than a minute"
        )
        assert not lock.held
        other.kill()
        other.wait()
        assert lock.take(US) == "" and lock.held
        assert lock.take(US) == "", "whoever holds it may ask again"
    assert "bob on desk (process 7, replay)" in BoardLock(path).take(THEM)
    lock.release()
    other_lock = BoardLock(path)
    assert other_lock.take(THEM) == ""
    other_lock.release()


def test_what_others_wrote_is_shown_but_cannot_harm(path, lock):
    with holder(path) as other, running(["sleep", "1000"]) as innocent:
        nasty = {**THEM, "user": "\x1b[2J" + "a" * 500, "agent": innocent.pid, "heard_s": -1e6}
        path.write_text(json.dumps(nasty))
        assert lock.take({**US, "session": "theirs"}).startswith("[2J" + "a" * 61 + " on laptop")
        endless = json.dumps({**nasty, "since_s": float("-inf")})
        for content in ("", "no JSON", "[]", '{"agent": "x"}', endless):
            path.write_text(content)
            assert lock.take(US) == "another process measures there"
        assert other.poll() is None and innocent.poll() is None


def test_a_stopped_owner_is_ended_once_its_host_was_not_heard_for_long(path, lock, monkeypatch):
    with holder(path) as other:
        stopped = stop(other)
        assert f"its measuring server, process {other.pid} of the board, is stopped" in lock.take(
            US
        )
        assert stopped.is_stopped
        monkeypatch.setattr(lock_module, "STOPPED_S", -1.0)
        assert lock.take(US) == ""
        assert other.wait() == -signal.SIGTERM


def test_an_owner_that_lives_is_ended_only_when_it_is_stuck(path, lock, monkeypatch):
    with holder(path) as other:
        monkeypatch.setattr(lock_module, "STOPPED_S", -1.0)
        assert "alice" in lock.take(US)
        monkeypatch.setattr(lock_module, "STUCK_S", -1.0)
        assert lock.take(US) == ""
        assert other.wait() == -signal.SIGTERM


def test_a_host_that_connects_anew_gets_rid_of_its_old_agent(path, lock):
    with holder(path) as other:
        stop(other)
        assert lock.take(THEM) == ""
        assert other.wait() == -signal.SIGTERM


def test_hearing_the_host_is_written_down(path, lock):
    assert lock.take(US) == ""
    before = json.loads(path.read_text())
    lock.touch()
    after = json.loads(path.read_text())
    assert after["heard_s"] > before["heard_s"] and after["since_s"] == before["since_s"]
    lock.release()
    lock.touch()
    assert json.loads(path.read_text()) == after


def test_a_file_that_was_removed_is_not_locked_in_vain(path, lock):
    with holder(path):
        path.unlink()
        assert lock.take(US) == ""
        assert "bob" in BoardLock(path).take(THEM)


@contextmanager
def held_by_nobody(path: Path) -> Iterator[int]:
    """A process of another user that has the lock. Forked: that user cannot start this Python."""
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.write(tell, BoardLock(path).take(THEM).encode() + b".")
        signal.pause()
        os._exit(0)
    try:
        assert os.read(told, 1000) == b"."
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@as_root
def test_users_share_one_lock_and_end_only_their_own_agents(monkeypatch):
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o1777)
        lock = BoardLock(Path(folder) / "lock")
        before = os.umask(0o077)
        try:
            assert lock.take(US) == ""
        finally:
            os.umask(before)
        lock.release()
        for limit in ("STOPPED_S", "STUCK_S"):
            monkeypatch.setattr(lock_module, limit, -1.0)
        with held_by_nobody(Path(folder) / "lock") as pid:
            os.kill(pid, signal.SIGSTOP)
            assert "alice" in lock.take({**US, "session": "theirs"})
            assert Process.running(pid).lives


@pytest.mark.parametrize("kind", ["folder", "link", "nowhere"])
def test_what_cannot_be_the_lock_is_an_error(path, lock, kind):
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        (path.parent / "target").touch()
        path.symlink_to(path.parent / "target")
    else:
        lock = BoardLock(path / "inner")
    with pytest.raises(LockError, match="QSDNN_BOARD_LOCK"):
        lock.take(US)


def test_its_place_is_where_all_users_may_write(tmp_path, monkeypatch):
    monkeypatch.setenv("QSDNN_BOARD_LOCK", "/elsewhere/lock")
    assert lock_path() == Path("/elsewhere/lock")
    monkeypatch.delenv("QSDNN_BOARD_LOCK")
    places = [tmp_path / name for name in ("absent", "private", "shared")]
    for place, mode in zip(places[1:], (0o755, 0o1777), strict=True):
        place.mkdir()
        place.chmod(mode)
    monkeypatch.setattr(lock_module, "PLACES", places)
    assert lock_path().parent == places[2]
