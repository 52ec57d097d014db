"""What onnxruntime refuses is refused when it is read, and what it runs is not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qsdnn.errors import ModelError
from qsdnn.model import acceptance, load_graph, write_original

WIDE = {"w": np.ones((200, 200), np.float32)}  # large: it is asked without
X, Y = {"x": [1, 200]}, {"y": [1, 200]}
MATMUL = helper.make_node("MatMul", ["x", "w"], ["t"], name="mm")


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (helper.make_node("Fancy", ["t"], ["y"], domain="org.example"), "org.example:Fancy"),
        (helper.make_node("Relu", ["t"], ["y"], name="mm"), "two nodes with same node name (mm)"),
        (helper.make_node("MatMul", ["t", "x"], ["y"]), "Incompatible dimensions"),
    ],
    ids=["an unknown operator", "equal names", "shapes"],
)
def test_what_onnxruntime_refuses_is_refused(save, node, reason):
    path = save([MATMUL, node], X, Y, WIDE)
    with pytest.raises(ModelError) as caught:
        load_graph(path)
    told = caught.value.message
    assert told.startswith(f"{path}: onnxruntime ") and reason in told
    assert caught.value.exit_code == 2
    assert "ONNXRuntimeError" not in told and "Load model" not in told


def test_what_is_newer_than_it_is_read_by_older_definitions(tmp_path):
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [x], [y])
    stamp = helper.make_opsetid("", 60)
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[stamp], ir_version=60), path)
    assert [layer.op_types for layer in load_graph(path).layers] == [("Relu",)]


def test_what_it_refuses_without_weights_it_is_asked_again_with_them(save, monkeypatch):
    asked = []

    def refuses_bytes(library, model):
        asked.append(model)
        return "its weights must be constants" if isinstance(model, bytes) else ""

    monkeypatch.setattr(acceptance, "refusal", refuses_bytes)
    path = save([MATMUL, helper.make_node("Relu", ["t"], ["y"])], X, Y, WIDE)
    load_graph(path)
    assert len(asked[0]) < WIDE["w"].nbytes / 10
    assert asked[-1] == str(path)


def test_outputs_that_are_inputs_or_there_twice(save, tmp_path, feeds, run):
    """The third name is taken by a value of the model's own."""
    nodes = [
        MATMUL,
        helper.make_node("Relu", ["t"], ["x_1"]),
        helper.make_node("Abs", ["x_1"], ["y"]),
    ]
    path = save(nodes, X, {"y": [1, 200]} | X, WIDE)
    model = onnx.load(path)
    model.graph.output.append(model.graph.output[0])
    onnx.save(model, path)
    graph = load_graph(path)
    assert graph.outputs == ("y", "x_1_2", "y_2")
    values = feeds(graph)
    found = run(tmp_path / write_original(graph, tmp_path)[0], values)
    assert list(found) == list(graph.outputs)
    np.testing.assert_array_equal(found["x_1_2"], values["x"])
    np.testing.assert_array_equal(found["y_2"], found["y"])
