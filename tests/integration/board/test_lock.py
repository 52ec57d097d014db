"""Two hosts and one board: one measures, the other is told who does, or waits."""

from __future__ import annotations

import getpass
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from qsdnn.board import Care, MeasureOptions, State
from qsdnn.errors import BoardError
from qsdnn_boards.ssh.board import SshBoard

from .server import kill

SHORT = MeasureOptions(budget_s=0.5, max_runs=30)


@pytest.fixture
def second(address):
    with SshBoard("same", address) as board:
        yield board


def test_the_second_host_is_told_who_measures(board, second, network, server):
    package, reference = network
    assert board.measure([package], reference, SHORT)[0].state is State.OK
    owner = f"{getpass.getuser()} on {socket.gethostname()} (process {os.getpid()}, "
    for use in (
        second.hold,
        lambda: second.measure([package], reference, SHORT),
        lambda: second.run(package, reference.feeds),
    ):
        with pytest.raises(BoardError) as caught:
            use()
        assert "board 'same' is in use: " + owner in caught.value.message
        assert caught.value.exit_code == 3 and "--wait" in caught.value.hint
    assert second.probe().engines, "a board that measures can be looked at"
    assert board.measure([package], reference, SHORT)[0].state is State.OK


@pytest.mark.parametrize("how", ["it leaves", "its agent is killed"])
def test_a_host_that_waits_measures_when_the_first_is_gone(board, second, network, server, how):
    package, reference = network
    assert board.measure([package], reference, SHORT)[0].state is State.OK
    (first,) = server.agents()
    second.care = Care(wait_s=1000.0)
    waits = threading.Event()

    def on_progress(text: str) -> None:
        if text.startswith("waiting: ") and not waits.is_set():
            waits.set()
            if how == "it leaves":
                board.__exit__(None, None, None)
            else:
                kill(first)

    (record,) = second.measure([package], reference, SHORT, on_progress)
    assert record.state is State.OK and waits.is_set()


def test_a_command_ends_with_exit_code_3_and_says_why(board, network, server, home):
    package, reference = network
    assert board.measure([package], reference, SHORT)[0].state is State.OK
    (home / ".ssh/config").write_text(f"IdentityFile {server.user_key}\n")

    def qsdnn(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "qsdnn", *words, "--json"]
        return subprocess.run(command, cwd=home, capture_output=True, text=True)

    assert qsdnn("example", "tiny-cnn", "-o", "net.onnx").returncode == 0
    ran = qsdnn("bench", "net.onnx@onnxruntime", "--board", server.name)
    assert ran.returncode == 3 and "Traceback" not in ran.stderr
    error = json.loads(ran.stdout)["error"]
    assert f"is in use: {getpass.getuser()} on" in error["message"] and "--wait" in error["hint"]
    assert qsdnn("bench", "net.onnx@onnxruntime", "--wait", "soon").returncode == 2
