from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from qsdnn.model import load_graph

RNG = np.random.default_rng(0)
SHAPE = [1, 4, 6, 6]
WEIGHTS = {
    "w": RNG.standard_normal((4, 4, 3, 3)).astype(np.float32) / 4,
    "m": RNG.standard_normal((6, 6)).astype(np.float32) / 4,
    "bias": RNG.standard_normal(6).astype(np.float32),
    "half": np.array(0.5, np.float32),
    "one": np.array(1.0, np.float32),
    "three": np.array(3.0, np.float32),
    "six": np.array(6.0, np.float32),
    "root": np.array(2**0.5, np.float32),
    "zero": np.array(0.0, np.float32),
}


def parse(text: str) -> list[onnx.NodeProto]:
    """Nodes from lines such as ``t = Add(a, b)``; convolutions are padded."""
    nodes = []
    for line in filter(None, map(str.strip, text.splitlines())):
        output, call = line.split(" = ")
        op, inputs = call.rstrip(")").split("(")
        attributes = {"pads": [1] * 4} if op == "Conv" else {}
        nodes.append(helper.make_node(op, inputs.split(", "), output.split(", "), **attributes))
    return nodes


@pytest.fixture
def fused(save, equivalent):
    """The layers of a small network, by kind and operators, after it ran as one and apart."""

    def load(text: str, outputs: str = "y", inputs: str = "x") -> list[str]:
        path = save(
            parse(text),
            dict.fromkeys(inputs.split(), SHAPE),
            dict.fromkeys(outputs.split()),
            WEIGHTS,
        )
        feeds = {name: RNG.standard_normal(SHAPE).astype(np.float32) for name in inputs.split()}
        model = onnx.shape_inference.infer_shapes(onnx.load(path))
        onnx.save(model, path)
        graph = equivalent(path, feeds)
        return [f"{layer.kind}: {' '.join(layer.op_types)}" for layer in graph.layers]

    return load


SILU = "s = Sigmoid({0})\n{1} = Mul({0}, s)"
HARD_SWISH = "a = Add({0}, three)\nc = Clip(a, zero, six)\nm1 = Mul({0}, c)\n{1} = Div(m1, six)"
HARD_SIGMOID = "s = HardSigmoid({0})\n{1} = Mul(s, {0})"
GELU = "d = Div({0}, root)\ne = Erf(d)\na = Add(e, one)\nh = Mul({0}, half)\n{1} = Mul(h, a)"
MISH = "p = Softplus({0})\nh = Tanh(p)\n{1} = Mul({0}, h)"


@pytest.mark.parametrize("text", [SILU, HARD_SWISH, HARD_SIGMOID, GELU, MISH])
def test_written_out_activations(fused, text):
    (layer,) = fused("t = Conv(x, w)\n" + text.format("t", "y"))
    assert layer.startswith("conv: Conv ")
    (layer,) = fused(text.format("x", "y"))
    assert layer.startswith("activation: ")
    assert len(fused("t = Conv(x, w)\n" + text.format("t", "y"), outputs="t y")) == 2


def test_residual_goes_to_the_later_producer(fused):
    """Unless that is none to take it: a pool leaves the sum to the convolution."""
    assert fused(
        """a = Conv(x, w)
        t = Tanh(x)
        b = Conv(t, w)
        r = Relu(b)
        c = Conv(r, w)
        s = Add(c, a)
        y = Relu(s)"""
    ) == [
        "conv: Conv",
        "activation: Tanh",
        "conv: Conv Relu",
        "conv: Conv Add Relu",
    ]
    assert fused("a = Conv(x, w)\nb = Softmax(x)\ny = Add(a, b)") == [
        "softmax: Softmax",
        "conv: Conv Add",
    ]


def test_a_product_takes_bias_and_activation(fused):
    assert fused("t = MatMul(x, m)\nb = Add(t, bias)\ny = Tanh(b)") == ["matmul: MatMul Add Tanh"]


def test_a_gate_is_not_the_tail_of_its_small_layer(fused):
    layers = fused(
        """t = Conv(x, w)
        p = GlobalAveragePool(t)
        g = Sigmoid(p)
        y = Mul(t, g)"""
    )
    assert layers == ["conv: Conv", "pool: GlobalAveragePool Sigmoid", "eltwise: Mul"]


def test_chains_stop_at_outputs_and_forks(fused):
    assert fused("t = Conv(x, w)\ny = Relu(t)", outputs="t y") == ["conv: Conv", "activation: Relu"]
    assert fused("t = Conv(x, w)\na = Relu(t)\nb = Softmax(t)\ny = Add(a, b)") == [
        "conv: Conv",
        "activation: Relu",
        "softmax: Softmax",
        "eltwise: Add",
    ]


def test_views_join_their_producer_or_consumer(fused):
    assert fused("t = Conv(x, w)\ny = Flatten(t)") == ["conv: Conv Flatten"]
    assert fused("t = Flatten(x)\ny = Softmax(t)") == ["softmax: Flatten Softmax"]
    assert fused("t = Flatten(x)\ny = Relu(t)", outputs="t y") == [
        "reshape: Flatten",
        "activation: Relu",
    ]


def test_an_output_that_is_no_nodes_own(save, equivalent):
    """An input, a constant, and one value under two names."""
    path = save(
        parse("y = Relu(x)\nz = Identity(y)\nk = Identity(bias)\nv = Identity(x)"),
        {"x": [6]},
        {"y": [6], "z": [6], "k": [6], "v": [6]},
        WEIGHTS,
    )
    graph = equivalent(path, {"x": WEIGHTS["bias"]})
    assert graph.outputs == ("y", "z", "k", "v")
    assert set(graph.producer) >= set(graph.outputs)
    assert set(graph.inputs).isdisjoint(graph.outputs)


def test_an_unread_input_stays(save, equivalent):
    path = save(parse("y = Relu(b)"), {"a": [2], "b": [2]}, {"y": [2]})
    ones = np.ones(2, np.float32)
    assert equivalent(path, {"a": ones, "b": ones}).inputs == ("a", "b")


def test_old_operator_sets(save, equivalent):
    """Opset 7: Sum, Dropout with a mask, BatchNormalization with `spatial`."""
    norm = helper.make_node("BatchNormalization", ["c", *["v"] * 4], ["n"], spatial=1)
    path = save(
        [*parse("c = Conv(x, w)"), norm, *parse("s = Sum(n, x)\ny, mask = Dropout(s)")],
        {"x": SHAPE},
        {"y": SHAPE},
        WEIGHTS | {"v": np.full(4, 0.5, np.float32)},
        opset=7,
    )
    graph = equivalent(path, {"x": RNG.standard_normal(SHAPE).astype(np.float32)})
    assert [layer.op_types for layer in graph.layers] == [("Conv", "Sum")]


def test_random_operators_are_pinned_and_not_folded(save):
    node = helper.make_node("RandomNormal", [], ["r"], shape=[6])
    graph = load_graph(save([node, *parse("y = Add(x, r)")], {"x": [6]}, {"y": [6]}))
    assert [bool(layer.pinned) for layer in graph.layers] == [True, False]
    assert "random" in graph.layers[0].pinned
