from __future__ import annotations

import pytest
from onnx import helper

from qsdnn.errors import InputError, ModelError
from qsdnn.model import load_graph

RELU = helper.make_node("Relu", ["image"], ["y"])


@pytest.fixture
def dynamic(save):
    return save([RELU], {"image": ["batch", 3, "h", 8]}, {"y": ["batch", 3, "h", 8]})


def test_a_dynamic_input_is_named_with_an_option_to_type(dynamic):
    with pytest.raises(ModelError, match=r"'image' is \(batch, 3, h, 8\)") as caught:
        load_graph(dynamic)
    assert "--shape image=1,3,224,8" in str(caught.value)


def test_every_dynamic_input_is_named(save):
    node = helper.make_node("Concat", ["a", "b"], ["y"], axis=0)
    path = save([node], {"a": ["n", 2], "b": None}, {"y": None})
    with pytest.raises(ModelError, match=r"'a' is .*'b' is of unknown rank") as caught:
        load_graph(path)
    assert "--shape a=1,2 --shape b=1,3,224,224" in str(caught.value)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"imag": (1, 3, 8, 8)}, "did you mean 'image'"),
        ({"image": (1, 3, 8)}, "3 dimensions, the input has 4"),
        ({"image": (1, 4, 8, 8)}, "fixes the dimensions"),
        ({"image": (-1, 3, 8, 8)}, "negative"),
    ],
)
def test_a_wrong_shape(dynamic, shapes, words):
    with pytest.raises(InputError, match=words):
        load_graph(dynamic, shapes)


def test_a_shape_reaches_the_outputs(dynamic):
    graph = load_graph(dynamic, {"image": (2, 3, 5, 8)})
    assert graph.shapes == {"image": (2, 3, 5, 8)}
    assert graph.tensors["y"].shape == (2, 3, 5, 8)


def test_a_symbol_is_one_number(save):
    node = helper.make_node("Add", ["a", "b"], ["y"])
    path = save([node], {"a": ["n", 2], "b": ["n", 2]}, {"y": ["n", 2]})
    assert load_graph(path, {"a": (3, 2)}).shapes == {"a": (3, 2), "b": (3, 2)}
    with pytest.raises(ModelError, match="b=4,2"):
        load_graph(path, {"a": (3, 2), "b": (4, 2)})


def test_initializers_are_no_inputs(save):
    import numpy as np

    node = helper.make_node("Add", ["x", "w"], ["y"])
    path = save([node], {"x": [2], "w": [2]}, {"y": [2]}, {"w": np.ones(2, np.float32)})
    assert load_graph(path).inputs == ("x",)
