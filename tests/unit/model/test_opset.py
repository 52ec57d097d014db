from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from qsdnn.model import load_graph, write_original, write_segment
from qsdnn.model.opset import USUAL, Versions, restamp, versions_read

OLD = USUAL  # of boards with an old Python


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
        assert (written.ir_version, written.opset_import[0].version) == (OLD.ir_version, OLD.opset)
        onnx.checker.check_model(written, full_check=True)
        close(run(file, values), run(path, values))


def node(op_type, **attributes):
    return helper.make_node(op_type, ["x"], ["y"], **attributes)


def two(op_type, **attributes):
    return helper.make_node(op_type, ["x", "x"], ["y"], **attributes)


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        (node("Swish"), TensorProto.FLOAT),
        (node("Cast", to=TensorProto.FLOAT16, round_mode="up"), TensorProto.FLOAT),
        (node("SpaceToDepth", blocksize=2, mode="CRD"), TensorProto.FLOAT),
        (node("MaxPool", kernel_shape=[2, 2]), TensorProto.BFLOAT16),
        (node("Celu"), TensorProto.FLOAT16),
        (two("BitShift", direction="LEFT"), TensorProto.INT32),
        (two("Mod"), TensorProto.FLOAT),  # which would want fmod=1
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_what_an_older_definition_does_not_know_stays_as_it_is(node, kind):
    new = model([node], 28, kind=kind)
    restamp(new, OLD)
    assert new.opset_import[0].version == 28


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        (node("Celu"), TensorProto.FLOAT),
        (two("BitShift", direction="LEFT"), TensorProto.UINT32),
        (node("SpaceToDepth", blocksize=2), TensorProto.FLOAT),
        (node("Relu"), TensorProto.BFLOAT16),  # which it had before
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_what_it_knows_means_the_same(node, kind):
    new = model([node], 28, kind=kind)
    restamp(new, OLD)
    assert new.opset_import[0].version == OLD.opset


def test_a_type_that_only_a_newer_one_makes_stays_as_it_is():
    nodes = [
        helper.make_node("Cast", ["x"], ["small"], to=TensorProto.FLOAT4E2M1),
        helper.make_node("Cast", ["small"], ["y"], to=TensorProto.FLOAT),
    ]
    new = model(nodes, 28)
    restamp(new, OLD)
    assert new.opset_import[0].version == 28


def test_values_inside_of_bodies_have_types_too():
    def branch(kind):
        made = helper.make_tensor_value_info("b", kind, None)
        cast = helper.make_node("Cast", ["x"], ["c"], to=kind)
        return helper.make_graph([cast, helper.make_node("Celu", ["c"], ["b"])], "b", [], [made])

    for kind, version in ((TensorProto.FLOAT, OLD.opset), (TensorProto.FLOAT16, 28)):
        bodies = {"then_branch": branch(kind), "else_branch": branch(kind)}
        new = model(
            [
                helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
                helper.make_node("Cast", ["m"], ["go"], to=TensorProto.BOOL),
                helper.make_node("If", ["go"], ["z"], **bodies),
                helper.make_node("Cast", ["z"], ["y"], to=TensorProto.FLOAT),
            ],
            28,
        )
        restamp(new, OLD)
        assert new.opset_import[0].version == version


def test_a_board_that_reads_it_gets_it_as_it_is():
    new = model(NODES, 25)
    before = new.SerializeToString()
    restamp(new, Versions(ir_version=13, opset=25))
    assert new.SerializeToString() == before


def test_a_board_says_what_it_reads():
    words = ("FP32", "layout:nchw8c", "ir:11", "opset:24")
    assert versions_read(words) == Versions(ir_version=11, opset=24)
    assert versions_read(("FP32",)) == OLD


def test_an_old_model_is_not_touched():
    old = model([helper.make_node("Relu", ["x"], ["y"])], 13, ir_version=7)
    before = old.SerializeToString()
    restamp(old, OLD)
    assert old.SerializeToString() == before
