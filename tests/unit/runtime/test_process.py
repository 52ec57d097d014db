"""Processes: orphaned children are ended, and workers leave the first core to their caller."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qsdnn_runtime.board.process import end_orphans

CORES = sorted(os.sched_getaffinity(0))

PROGRAM = """
import json, os, sys, threading
os.sched_setaffinity(0, json.loads(sys.argv[1]))
import onnxruntime
from onnx import TensorProto, helper
from qsdnn_runtime.board.process import settle_workers

mine = threading.Event()
value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2

before = set(os.listdir("/proc/self/task"))
session = onnxruntime.InferenceSession(model.SerializeToString(), options)
python = threading.Thread(target=mine.wait, daemon=True)
python.start()
settle_workers(int(sys.argv[2]))
new = {int(task) for task in set(os.listdir("/proc/self/task")) - before}
of = {task: sorted(os.sched_getaffinity(task)) for task in new}
print(json.dumps([of.pop(python.native_id), sorted(os.sched_getaffinity(0)), list(of.values())]))
os._exit(0)
"""


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


def affinities(cores: list[int], threads: int):
    """Of a thread of Python's, of the caller, and of the workers that an engine started."""
    words = [sys.executable, "-c", PROGRAM, json.dumps(cores), str(threads)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(len(CORES) < 2, reason="takes two cores")
def test_workers_leave_the_first_core_where_there_are_as_many_cores_as_threads():
    python, caller, workers = affinities(CORES[:2], threads=2)
    assert python == caller == CORES[:2], "threads of the user's are his"
    assert workers and all(cores == CORES[1:2] for cores in workers)


@pytest.mark.skipif(len(CORES) < 2, reason="takes two cores")
def test_workers_stay_where_they_are_on_other_numbers_of_cores():
    for cores, threads in ((CORES[:2], 1), (CORES[:1], 2), (CORES[:2], 3)):
        assert all(own == cores for own in affinities(cores, threads)[2])
