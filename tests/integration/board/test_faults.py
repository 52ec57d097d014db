"""What goes wrong on a board while it measures, by real means: memory, signals, a package."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qsdnn.board import Package, Reference, State
from qsdnn.errors import BoardError, BoardLostError
from qsdnn.measure import recovery
from qsdnn.measure.measurer import Measurer
from qsdnn.store import Store
from qsdnn_boards.local import LocalBoard
from qsdnn_boards.ssh.board import SshBoard
from tests.unit.boards.conftest import LOADERS, write_package

from .memory import MemoryLimit
from .server import are_gone, descendants, is_agent, wait_until
from .test_measure import ENDLESS, SHORT, once_measuring

REFERENCE = Reference(feeds={"x": np.ones((2, 3), np.float32)})
EATER = {"good_runs": 3, "then": {"kind": "eat"}}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalBoard]:
    """This machine, with an engine that does what its package says; its agent runs."""
    monkeypatch.setenv("QSDNN_BOARD_CACHE", str(tmp_path / "cache"))
    with LocalBoard(python_path=[LOADERS]) as board:
        board.probe()
        yield board


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Package]:
    return lambda name, **options: write_package(tmp_path / "packages", name, options)


def agent() -> int:
    (pid,) = [p for p in descendants(os.getpid()) if is_agent(p)]
    return pid


def test_an_engine_that_takes_all_memory_is_killed_alone_by_the_kernel(request, make):
    try:
        limit = MemoryLimit(256)
    except PermissionError as error:
        pytest.skip(f"NOT TESTED: the kernel's OOM killer. It takes root and a cgroup: {error}")
    with limit:
        fake = request.getfixturevalue("fake")
        with fake:
            limit.hold(agent())
            packages = [make("eater", **EATER), make("good", sleep_s=0.002)]
            eater, good = fake.measure(packages, REFERENCE, SHORT)
            assert limit.kills == 1
    assert eater.state is State.CRASHED and good.state is State.OK
    assert "SIGKILL (the board may be out of memory), in step 'run'" in eater.error


def test_an_engine_that_gets_no_more_memory_says_so(fake, make):
    resource.prlimit(agent(), resource.RLIMIT_AS, (2 << 30, 2 << 30))
    packages = [make("eater", **EATER), make("good", sleep_s=0.002)]
    eater, good = fake.measure(packages, REFERENCE, SHORT)
    assert eater.state is State.CRASHED and good.state is State.OK
    assert "Unable to allocate" in eater.error


def test_a_child_that_is_stopped_for_good_is_timed_out_and_the_next_one_measures(
    server, board, network
):
    package, reference = network
    stopped = []

    def stop() -> None:
        stopped.extend(server.workers())
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)

    options = replace(ENDLESS, timeout_s=2.0)
    (record,) = board.measure([package], reference, options, once_measuring(stop))
    assert record.state is State.TIMED_OUT and "no end of 'run' after 2 s" in record.error
    assert are_gone(stopped)
    assert board.measure([package], reference, SHORT)[0].state is State.OK


def test_a_package_that_kills_its_agent_each_time_is_blamed_and_stored(
    fake, make, tmp_path, monkeypatch
):
    monkeypatch.setattr(recovery, "PAUSES_S", (0.0,))
    good = make("good", sleep_s=0.002)
    deadly = make("deadly", good_runs=3, then={"kind": "kill_agent"})
    notes: list[str] = []
    for run in range(2):
        with Store(str(tmp_path / "store.db")) as store:
            measurer = Measurer(fake, store, lambda: good, REFERENCE, on_note=notes.append)
            records = measurer.measure([good, deadly], "plan", SHORT)
            assert [record.state for record in records] == [State.OK, State.BOARD_LOST]
            assert "it was measured alone 3 times, the board was lost each time" in records[1].error
            counts = measurer.counts
            assert (counts.taken, counts.cached) == ((2, 0) if run == 0 else (0, 2))
    assert len(notes) == recovery.TOGETHER + recovery.ALONE


def test_a_board_whose_python_has_no_numpy_is_told_apart(address, tmp_path):
    python = tmp_path / "venv/bin/python3"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    if subprocess.run([python, "-c", "import numpy"], stderr=subprocess.DEVNULL).returncode == 0:
        pytest.skip("NOT TESTED: a Python without numpy. This one's standard library has it")
    bare = SshBoard("lab", replace(address, python=str(python)))
    with bare, pytest.raises(BoardError, match="its Python has no numpy") as caught:
        bare.probe()
    assert "qsdnn boards setup lab" in caught.value.hint


def test_an_agent_killed_while_it_starts_is_a_lost_board(server, address, network):
    """Whoever waits for the board tries again then, and does not take it for a broken one."""
    python = server.folder / "dies"
    python.write_text("#!/bin/sh\nkill -9 $$\n")
    python.chmod(0o755)
    board = SshBoard("lab", replace(address, python=str(python)))
    with board, pytest.raises(BoardLostError, match="cannot be started"):
        board.measure([network[0]], network[1], SHORT)
    wait_until(lambda: not server.processes())
