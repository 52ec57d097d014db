"""What only onnxruntime runs: control flow, strangers' operators, values without a static shape."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from qsdnn.model import load_graph

WEIGHTS = {"w": np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)}


def float32(name: str, *shape: int):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def branch(op: str, name: str):
    """A body that reads `t` of the graph around it."""
    node = helper.make_node(op, ["t", "w" if op == "MatMul" else "t"], [name])
    return helper.make_graph([node], name, [], [float32(name, 1, 4)])


@pytest.mark.parametrize("sign", [-1, 1])
def test_control_flow(save, equivalent, sign):
    path = save(
        [
            helper.make_node("MatMul", ["x", "w"], ["t"]),
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Greater", ["sum", "zero"], ["positive"]),
            helper.make_node(
                "If",
                ["positive"],
                ["z"],
                then_branch=branch("MatMul", "yes"),
                else_branch=branch("Add", "no"),
            ),
            helper.make_node("Relu", ["z"], ["y"]),
        ],
        {"x": [1, 4]},
        {"y": [1, 4]},
        WEIGHTS | {"zero": np.array(0.0, np.float32)},
    )
    graph = equivalent(path, {"x": np.full((1, 4), sign, np.float32)})
    (layer,) = (layer for layer in graph.layers if layer.kind == "control_flow")
    assert "control flow" in layer.pinned
    assert set(layer.inputs) == {"positive", "t"}
    assert sum(bool(layer.pinned) for layer in graph.layers) == 1


def test_a_loop(save, equivalent):
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "w"], ["next"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            float32("state", 1, 4),
        ],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), float32("next", 1, 4)],
    )
    path = save(
        [helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)],
        {"x": [1, 4]},
        {"y": [1, 4]},
        WEIGHTS | {"n": np.array(3, np.int64)},
    )
    graph = equivalent(path, {"x": np.ones((1, 4), np.float32)})
    assert graph.layers[0].pinned == "Loop is control flow"


def test_a_strangers_operator(save):
    path = save(
        [
            helper.make_node("MatMul", ["x", "w"], ["t"]),
            helper.make_node("QuickGelu", ["t"], ["f"], domain="com.microsoft"),
            helper.make_node("Relu", ["x"], ["y"]),
        ],
        {"x": [1, 4]},
        {"f": [1, 4], "y": [1, 4]},
        WEIGHTS,
    )
    graph = load_graph(path)
    assert [(la.kind, la.pinned) for la in graph.layers] == [
        ("matmul", ""),
        ("other", "QuickGelu is of the domain com.microsoft"),
        ("activation", ""),
    ]


def test_unknown_shapes_stay_in_one_layer(save, equivalent):
    """NonZero's shape depends on data; what lies between it and the last reader comes along."""
    path = save(
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("NonZero", ["r"], ["where"]),
            helper.make_node("Cast", ["where"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["real"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["r", "sum"], ["scaled"]),
            helper.make_node("MatMul", ["scaled", "w"], ["between"]),
            helper.make_node("ReduceMax", ["between"], ["max"], keepdims=0),
            helper.make_node("Add", ["real", "max"], ["ragged"]),
            helper.make_node("Tanh", ["x"], ["apart"]),
        ],
        {"x": [1, 4]},
        {"ragged": None, "apart": [1, 4]},
        WEIGHTS,
    )
    graph = equivalent(path, {"x": np.array([[1, -1, 2, 3]], np.float32)})
    assert all(graph.tensors[n].static for layer in graph.layers for n in layer.inputs)
    pinned = [layer for layer in graph.layers if layer.pinned]
    assert [len(layer.nodes) for layer in pinned] == [7]
    assert "no static shape" in pinned[0].pinned or "uncommon" in pinned[0].pinned
    assert graph.tensors["ragged"].shape is None


def test_types_numpy_lacks(save, equivalent):
    path = save(
        [
            helper.make_node("Cast", ["x"], ["b"], to=TensorProto.BFLOAT16),
            helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT),
        ],
        {"x": [1, 4]},
        {"y": [1, 4]},
    )
    (layer,) = equivalent(path, {"x": np.ones((1, 4), np.float32)}).layers
    assert "'b'" in layer.pinned
