"""Networks whose outputs differ from run to run are named."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from qsdnn.errors import ModelError
from qsdnn.model import load_graph
from qsdnn.model.acceptance import check_repeatable

X, Y = {"x": [2, 4]}, {"y": [2, 4]}
FLAGS = {"on": np.array(True), "off": np.array(False)}
RATES = {"half": np.float32(0.5), "none": np.float32(0)}


def noise(name="r"):
    return helper.make_node("RandomUniformLike", ["x"], [name], "noise")


def dropout(*inputs):
    return helper.make_node("Dropout", ["x", *inputs], ["r"], "drop")


def within(node):
    """The node in both branches of an If."""
    made = helper.make_tensor_value_info("r", TensorProto.FLOAT, [2, 4])
    body = helper.make_graph([node], "body", [], [made])
    return [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["go"], to=TensorProto.BOOL),
        helper.make_node("If", ["go"], ["r"], then_branch=body, else_branch=body),
    ]


def load(save, nodes):
    weights = {name: np.asarray(value) for name, value in (FLAGS | RATES).items()}
    return load_graph(save([*nodes, helper.make_node("Add", ["x", "r"], ["y"])], X, Y, weights))


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        ([noise()], "'noise' (RandomUniformLike)"),
        ([helper.make_node("Bernoulli", ["x"], ["r"], "coin", seed=1.0)], "'coin' (Bernoulli)"),
        ([dropout("half", "on")], "'drop' (Dropout)"),
        (within(noise()), "'noise' (RandomUniformLike) and 1 more"),
    ],
    ids=["like", "seeded", "dropout", "in a body"],
)
def test_what_is_random_is_refused_by_name(save, nodes, named):
    graph = load(save, nodes)
    with pytest.raises(ModelError) as caught:
        check_repeatable(graph)
    assert str(graph.path) in caught.value.message and named in caught.value.message


@pytest.mark.parametrize("inputs", [("half", "off"), ("none", "on"), ()], ids=str)
def test_a_dropout_that_drops_nothing_is_not(save, inputs):
    check_repeatable(load(save, [dropout(*inputs)]))
