"""However a search ends, a plan is on disk that can be replayed."""

import os
import signal
import subprocess
import sys

import pytest

from qsdnn.plan import read_plan

QSDNN = [sys.executable, "-m", "qsdnn"]
SEARCH = ["search", "net.onnx", "--engines", "onnxruntime,blas", "--episodes", "50",
          "--measurements", "40", "--store", "s.db"]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("QSDNN_BOARD_CACHE", str(tmp_path / "cache"))
    run(tmp_path, "example", "tiny-cnn", "-o", "net.onnx")
    return tmp_path


def run(folder, *words):
    ran = subprocess.run([*QSDNN, *words], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def stop_at(folder, phase, how):
    """Starts a search, and stops it when it says that a phase begins; its exit code."""
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(
        [*QSDNN, *SEARCH], cwd=folder, text=True, start_new_session=True, **pipes
    ) as process:
        for line in process.stderr:
            if line.startswith(phase):
                os.killpg(process.pid, how)
                break
        process.stderr.read()
    return process.returncode


def test_a_killed_search_leaves_a_plan_and_goes_on(folder):
    for phase in ("Exploring", "Learning round 1", "Final"):
        assert stop_at(folder, phase, signal.SIGKILL) == -signal.SIGKILL
        plan = read_plan(folder / "plan.json")
        assert plan.interim and plan.measured_ms > 0 and plan.accuracy.plan <= 1e-4
    run(folder, "replay", "plan.json")
    run(folder, *SEARCH)
    assert not read_plan(folder / "plan.json").interim


def test_so_does_an_interrupted_one(folder):
    assert stop_at(folder, "Learning round 1", signal.SIGINT) == 130
    assert read_plan(folder / "plan.json").interim
    run(folder, "replay", "plan.json")
