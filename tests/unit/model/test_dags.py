"""Random networks: whatever is fused, the layers are a partition, convex, in order, and right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from qsdnn.model import Graph

SHAPE = [1, 4, 6, 6]
RNG = np.random.default_rng(0)


def array(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.uniform(0.1, 0.5, shape).astype(np.float32)


WEIGHTS = {
    "conv": array(4, 4, 3, 3) - 0.3,
    "depthwise": array(4, 1, 3, 3),
    "join": array(4, 8, 1, 1) / 4,
    "square": array(6, 6) - 0.3,
    "channel": array(4),
    "planes": array(4, 1, 1),
    "row": array(6),
    "three": np.array(3, np.float32),
    "zero": np.array(0, np.float32),
    "flat": np.array([4, 36], np.int64),
    "shape": np.array(SHAPE, np.int64),
    "ones": np.ones(4, np.int64),
}
# Lines of `outputs = operator inputs`: a, b are earlier values of one shape, t* are new.
BLOCKS = [
    "y = Conv a conv",
    "y = DepthwiseConv a depthwise",
    "y = MatMul a square",
    "y = MatMul a b",
    "y = BatchNormalization a channel channel channel channel",
    "y = Relu a",
    "y = Clip a zero three",
    "y = Add a b",
    "y = Mul a b",
    "y = Sum a b a",
    "y = Add a planes",
    "y = Mul a row",
    "y = Identity a",
    "y = MaxPool a",
    "y = Softmax a",
    "y = Transpose a",
    "t = Sigmoid a; y = Mul a t",
    "t = Add a three; u = Clip t zero three; y = Mul a u",
    "t = Reshape a flat; y = Reshape t shape",
    "t = Concat a b; y = Conv t join",
    "t, u = Split a; v = Conv b conv; y = Concat3 u t",
    "t = GlobalAveragePool a; u = Sigmoid t; y = Mul b u",
    "t = NonZero a; u = Cast t; v = ReduceMean u; w = Reshape v ones; y = Mul b w",
]
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "DepthwiseConv": {"op_type": "Conv", "group": 4, "pads": [1] * 4},
    "MaxPool": {"kernel_shape": [3, 3], "pads": [1] * 4},
    "Transpose": {"perm": [0, 1, 3, 2]},
    "Concat": {"axis": 1},
    "Concat3": {"op_type": "Concat", "axis": 3},
    "Split": {"axis": 3, "num_outputs": 2},
    "Cast": {"to": TensorProto.FLOAT},
    "ReduceMean": {"keepdims": 0},
}


def nodes_of(block: str, names: dict[str, str]) -> list[onnx.NodeProto]:
    """A block with its names replaced."""
    nodes = []
    for line in block.split("; "):
        outputs, call = line.split(" = ")
        op, *inputs = call.split()
        attributes = dict(ATTRIBUTES.get(op, {}))
        if op == "Conv" and "conv" in inputs:
            attributes["pads"] = [1] * 4
        op = attributes.pop("op_type", op)
        renamed = [[names.get(n, n) for n in part] for part in (inputs, outputs.split(", "))]
        nodes.append(helper.make_node(op, *renamed, **attributes))
    return nodes


@st.composite
def networks(draw) -> bytes:
    """Up to nine blocks on one or two inputs; what nothing reads is an output, and some more."""
    values = ["x0", "x1"][: draw(st.integers(1, 2))]
    inputs = list(values)
    nodes: list[onnx.NodeProto] = []
    for index, block in enumerate(draw(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=9))):
        recent = st.sampled_from(values[-4:])
        names = {letter: f"{letter}{index}" for letter in "tuvwy"}
        nodes += nodes_of(block, names | {"a": draw(recent), "b": draw(recent)})
        values.append(f"y{index}")
    read = {name for node in nodes for name in node.input}
    made = values[len(inputs) :]
    outputs = [n for n in made if n not in read or draw(st.integers(0, 5)) == 0]
    tensors = [onnx.numpy_helper.from_array(a, n) for n, a in WEIGHTS.items() if n in read]
    describe = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE)  # noqa: E731
    graph = helper.make_graph(
        nodes, "dag", list(map(describe, inputs)), list(map(describe, outputs)), tensors
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())


def check_layers(graph: Graph) -> None:
    fused = [id(node) for layer in graph.layers for node in layer.nodes]
    assert sorted(fused) == sorted(map(id, graph.model.graph))
    assert [layer.index for layer in graph.layers] == list(range(len(graph.layers)))
    assert len({layer.name for layer in graph.layers}) == len(graph.layers)
    made = [name for layer in graph.layers for name in layer.outputs]
    assert len(made) == len(set(made)) and set(graph.outputs) <= set(made)
    assert graph.producer == {n: la.index for la in graph.layers for n in la.outputs}
    # Each layer reads only what earlier ones made: the layers are acyclic, so each is convex.
    for layer in graph.layers:
        assert layer.outputs
        assert all(graph.producer.get(name, -1) < layer.index for name in layer.inputs)
        assert all(graph.tensors[n].static for n in (*layer.inputs, *layer.outputs))
    assert set(graph.tensors) == set(graph.inputs) | set(made)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(content=networks())
def test_layers_of_any_network(equivalent, tmp_path: Path, content: bytes):
    path = tmp_path / "original.onnx"
    path.write_bytes(content)
    rng = np.random.default_rng(1)
    feeds = {name: rng.standard_normal(SHAPE).astype(np.float32) for name in ("x0", "x1")}
    check_layers(equivalent(path, feeds))
