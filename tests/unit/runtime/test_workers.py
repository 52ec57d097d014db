"""Workers of engines leave the first core to their caller."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

CORES = sorted(os.sched_getaffinity(0))

PROGRAM = """
import json, os, sys, threading
os.sched_setaffinity(0, json.loads(sys.argv[1]))
import onnxruntime
from onnx import TensorProto, helper
from qsdnn_runtime.board.workers import settle_workers

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
