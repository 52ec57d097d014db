"""What outputs are held against: the network in onnxruntime, which has to run it, always alike."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper, save

from qsdnn.board import Package, Reference
from qsdnn.errors import ModelError, RunError
from qsdnn.listener import Silent
from qsdnn.measure.measurer import Measurer
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.prepare import prepare
from tests.unit.measure.test_trust import FakeBoard, package


def test_a_network_that_the_boards_onnxruntime_does_not_run_is_bad_input(tmp_path):
    board = FakeBoard()

    def run(*args, **options):
        raise RunError("board 'lab': Opset 25 is under development")

    board.run = run
    net = Package(
        manifest={**package("net").manifest, "model": {"name": "net"}},
        folder=tmp_path,
        digest="net",
    )
    with Store(str(tmp_path / "store.db")) as store:
        measurer = Measurer(board, store, lambda: net, Reference(feeds={}))
        with pytest.raises(ModelError, match=r"^net does not run in .* Opset 25") as caught:
            measurer.reference()
    assert caught.value.exit_code == 2


def test_a_random_network_is_refused_before_anything_is_measured(tmp_path):
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy")
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["r"], "noise"),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "net", [x], [y])
    stamp = [helper.make_opsetid("", 18)]
    save(helper.make_model(graph, opset_imports=stamp, ir_version=8), tmp_path / "net.onnx")
    config = SearchConfig(model=tmp_path / "net.onnx")
    named = r"net.onnx: .*'noise' \(RandomNormalLike\)"
    with Store(str(tmp_path / "store.db")) as store, pytest.raises(ModelError, match=named):
        prepare(config, FakeBoard(), store, Silent(), tmp_path)
