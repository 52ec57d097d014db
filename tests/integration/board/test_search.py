"""The whole of a search over SSH, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

QSDNN = [sys.executable, "-m", "qsdnn"]
SEARCH = ["--engines", "onnxruntime,blas", "--episodes", "50", "--budget", "5s"]


@pytest.fixture
def qsdnn(home, address, server):
    """Runs a command at home; exit code, stdout and stderr."""
    (home / ".ssh/config").write_text(f"IdentityFile {server.user_key}\n")
    environment = {**os.environ, "QSDNN_STORE": str(home / "store.db")}

    def run(*words: str) -> tuple[int, str, str]:
        command = [*QSDNN, *words, "--json"]
        ran = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
        return ran.returncode, ran.stdout, ran.stderr

    return run


def test_a_search_and_its_replay(qsdnn, server):
    assert qsdnn("example", "tiny-cnn", "-o", "net.onnx")[0] == 0
    code, out, err = qsdnn("search", "net.onnx", "--board", server.name, *SEARCH)
    assert code == 0, err
    found = json.loads(out)
    assert found["board"]["name"] == server.name
    assert found["verified"] and found["measurements"]["taken"] > 0
    code, out, err = qsdnn("replay", "plan.json", "--board", server.name)
    assert code == 0 and json.loads(out)["verified"], err


def test_a_board_that_is_not_known_ends_with_exit_code_3(qsdnn, server, home):
    qsdnn("example", "tiny-cnn", "-o", "net.onnx")
    (home / ".ssh/known_hosts").unlink()
    code, out, err = qsdnn("search", "net.onnx", "--board", server.name, *SEARCH)
    assert code == 3 and "Traceback" not in err
    assert "--accept-host-key" in out
