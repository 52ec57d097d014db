"""The process that measures takes no more than three times a large network's weights and 400 MB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from qsdnn.board import MeasureOptions
from qsdnn.listener import Silent
from qsdnn.measure.batches import LEAST_BYTES, SPARE_BYTES, WEIGHTS
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.prepare import prepare
from qsdnn.tuning.start.uniform import uniform_plans
from qsdnn_boards.local import LocalBoard

CHANNELS, SIZE, HIDDEN = 16, 14, 4800
PLANS = 2
"""Of each engine: together 480 MB of weights, which take 750 MB, where 580 MB are allowed."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A convolution and two layers of all with all: 60 MB, as in AlexNet mostly in the first."""
    rng = np.random.default_rng(0)
    shapes = {"w": (CHANNELS, 3, 3, 3), "a": (CHANNELS * SIZE * SIZE, HIDDEN), "b": (HIDDEN, 10)}
    weights = {
        name: rng.standard_normal(shape, np.float32) / np.float32(np.prod(shape[1:]) ** 0.5)
        for name, shape in shapes.items()
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("MatMul", ["f", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["g"]),
        helper.make_node("MatMul", ["g", "b"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 3, SIZE, SIZE))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1, 10))],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path = tmp_path / "large.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path)
    return path


@pytest.mark.slow
def test_plans_of_all_engines_are_measured_in_little_memory(model, tmp_path, monkeypatch):
    monkeypatch.setenv("QSDNN_BOARD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "artifacts").mkdir()
    with LocalBoard() as board, Store(str(tmp_path / "store.db")) as store:
        config = SearchConfig(model=model)
        bench = prepare(config, board, store, Silent(), tmp_path / "artifacts").bench
        chosen = some_of_each_engine(uniform_plans(bench.space))
        options = MeasureOptions(min_runs=3, max_runs=3, budget_s=0.1, again=0)
        trials = bench.measure(list(chosen.values()), "look", options)
        peaks_mb = [trial.record.context["process_peak_mb"] for trial in trials]
    allowed_mb = max(WEIGHTS * model.stat().st_size + SPARE_BYTES, LEAST_BYTES) / 1e6
    assert len(peaks_mb) == len(chosen) and max(peaks_mb) <= allowed_mb


def some_of_each_engine(plans):
    chosen, counts = {}, {}
    for name, plan in plans.items():
        engine = name.split("/")[0]
        counts[engine] = counts.get(engine, 0) + 1
        if counts[engine] <= PLANS:
            chosen[name] = plan
    return chosen
