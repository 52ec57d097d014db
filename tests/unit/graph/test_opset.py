from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from qsdnn.graph import load_graph, write_original, write_segment
from qsdnn.graph.opset import IR_VERSION, OPSET, restamp


def model(nodes, opset, *, ir_version=13, kind=TensorProto.FLOAT, shape=None):
    x = helper.make_tensor_value_info("x", kind, [1, 4, 8, 8])
    y = helper.make_tensor_value_info("y", kind, shape)
    graph = helper.make_graph(nodes, "net", [x], [y])
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


# All were defined anew since, each with something that changed in it.
NODES = [
    helper.make_node("MaxPool", ["x"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    helper.make_node("HardSwish", ["p"], ["h"]),
    helper.make_node("SpaceToDepth", ["h"], ["s"], blocksize=2),
    helper.make_node("Cast", ["s"], ["i"], to=TensorProto.INT32),
    helper.make_node("Cast", ["i"], ["c"], to=TensorProto.FLOAT),
    helper.make_node("Softplus", ["c"], ["g"]),
    helper.make_node("Transpose", ["g"], ["t"], perm=[0, 2, 3, 1]),
    helper.make_node("AveragePool", ["t"], ["y"], kernel_shape=[2, 2], ceil_mode=1),
]


def test_what_is_written_is_read_by_old_onnxruntimes(tmp_path, segment, feeds, run, close):
    newest = 25
    path = tmp_path / "net.onnx"
    onnx.save(model(NODES, newest, shape=[1, 4, 3, 15]), path)
    graph = load_graph(path, workdir=tmp_path / "weights")
    values = feeds(graph)
    original = write_original(graph, tmp_path / "original")[0]
    cut = write_segment(segment(graph, graph.layers), tmp_path / "cut")[0][0]
    for file in (tmp_path / "original" / original, tmp_path / "cut" / cut):
        written = onnx.load(file)
        assert (written.ir_version, written.opset_import[0].version) == (IR_VERSION, OPSET)
        onnx.checker.check_model(written, full_check=True)
        close(run(file, values), run(path, values))


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Swish", ["x"], ["y"]),
        helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16, round_mode="up"),
        helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16),
    ],
    ids=["an operator", "an attribute", "a type"],
)
def test_what_is_new_stays_as_it_is(node):
    new = model([node], 25)
    restamp(new)
    assert new.opset_import[0].version == 25


def test_a_type_that_is_new_stays_as_it_is():
    pool = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2])
    new = model([pool], 22, kind=TensorProto.BFLOAT16)
    restamp(new)
    assert new.opset_import[0].version == 22


def test_an_old_model_is_not_touched():
    old = model([helper.make_node("Relu", ["x"], ["y"])], 13, ir_version=7)
    before = old.SerializeToString()
    restamp(old)
    assert old.SerializeToString() == before
