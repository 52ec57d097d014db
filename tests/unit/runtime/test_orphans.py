"""A child that cannot notice that its agent is gone is ended by the next agent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qsdnn_runtime.board.orphans import end_orphans


@pytest.fixture
def stopped_child(tmp_path: Path):
    """Starts what looks like a worker of some agent, and is stopped."""
    package = tmp_path / "qsdnn_runtime" / "server"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "worker.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
    started = []

    def start(agent: int) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "qsdnn_runtime.server.worker", "3", str(agent)]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        started.append(subprocess.Popen(words, env=environment))
        os.waitid(os.P_PID, started[-1].pid, os.WSTOPPED)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_children_of_agents_that_are_gone_are_ended_and_no_others(stopped_child):
    gone = subprocess.Popen(["true"])
    gone.wait()
    orphan, child = stopped_child(gone.pid), stopped_child(os.getpid())
    assert orphan.pid in end_orphans() and child.pid not in end_orphans()
    assert orphan.wait(10) == -signal.SIGKILL
    assert child.poll() is None
