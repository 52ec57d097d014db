"""Networks that are not in float32 themselves are told as what they are."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from qsdnn.model import Graph, load_graph
from qsdnn.model.acceptance import precision_notes


@pytest.fixture
def graph(tmp_path):
    def load(nodes, kind, **weights) -> Graph:
        x, y = (helper.make_tensor_value_info(n, kind, [4, 4]) for n in "xy")
        tensors = [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()]
        made = helper.make_graph(nodes, "net", [x], [y], tensors)
        stamp = [helper.make_opsetid("", 18)]
        path = tmp_path / "net.onnx"
        save(helper.make_model(made, opset_imports=stamp, ir_version=8), path)
        return load_graph(path)

    return load


def test_a_network_of_float32_has_no_note(graph):
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    assert precision_notes(graph(nodes, TensorProto.FLOAT)) == []


def test_one_of_float16_says_so(graph):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["t"]),
        helper.make_node("Softmax", ["t"], ["y"]),
    ]
    (note,) = precision_notes(graph(nodes, TensorProto.FLOAT16, w=np.ones((4, 4), np.float16)))
    assert "float16 in all layers" in note and "Only onnxruntime" in note


def test_one_that_is_quantized_says_so(graph):
    parameters = ["scale", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *parameters], ["q"]),
        helper.make_node("DequantizeLinear", ["q", *parameters], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"]),
    ]
    weights = {"scale": np.float32(0.1), "zero": np.int8(0), "w": np.ones((4, 4), np.float32)}
    (note,) = precision_notes(graph(nodes, TensorProto.FLOAT, **weights))
    assert "quantized in 2 of 4 layers" in note and "--calibration" in note
