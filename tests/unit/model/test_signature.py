"""Signatures: equal for layers that cost the same, different for all others."""

import dataclasses

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from qsdnn.model import load_graph
from qsdnn.model.workload import signature


def _write(path, *, seed=0, channels=8, strides=(1, 1), size=12, prefix="", kinds=("Relu", "Relu")):
    """Two equal convolutions, but for what the arguments say of the second."""
    rng = np.random.default_rng(seed)

    def weight(name, shape):
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), prefix + name)

    weights = [weight("w0", (8, 8, 3, 3)), weight("w1", (channels, 8, 3, 3))]
    nodes, last = [], "x"
    for i, (kind, steps) in enumerate(zip(kinds, ((1, 1), strides), strict=True)):
        made = [f"{prefix}c{i}", f"{prefix}r{i}"]
        nodes.append(helper.make_node("Conv", [last, f"{prefix}w{i}"], [made[0]], name=made[0],
                                      pads=[1, 1, 1, 1], strides=list(steps)))  # fmt: skip
        nodes.append(helper.make_node(kind, [made[0]], [made[1]], name=made[1]))
        last = made[1]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, size, size])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)], weights,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def _signatures(folder, name, **changes):
    graph = load_graph(_write(folder / f"{name}.onnx", **changes), workdir=folder)
    assert len(graph.layers) == 2
    return [signature(layer, graph) for layer in graph.layers]


def test_names_weights_and_places_do_not_count(tmp_path):
    first, second = _signatures(tmp_path, "a")
    assert first == second
    assert _signatures(tmp_path, "b", seed=1, prefix="other/") == [first, second]


def test_shapes_attributes_and_operators_do(tmp_path):
    usual = _signatures(tmp_path, "a")[1]
    found = {usual}
    for name, change in {
        "channels": {"channels": 16},
        "strides": {"strides": (2, 2)},
        "size": {"size": 14},
        "operator": {"kinds": ("Relu", "Sigmoid")},
    }.items():
        found.add(_signatures(tmp_path, name, **change)[1])
    assert len(found) == 5


def test_the_place_of_a_layer_in_its_graph_does_not_count(tmp_path):
    graph = load_graph(_write(tmp_path / "a.onnx"), workdir=tmp_path)
    moved = dataclasses.replace(graph.layers[0], index=7, name="moved")
    assert signature(moved, graph) == signature(graph.layers[0], graph)
