"""A network drawn at random, and what its layers are drawn from: shapes, values, activations."""

from dataclasses import dataclass, field

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
SIZES = st.integers(1, 13)
CHANNELS = st.sampled_from([1, 2, 3, 4, 5, 8, 12, 16, 17, 24, 32])
BATCHES = st.sampled_from([1, 1, 1, 1, 1, 1, 1, 2])


@dataclass
class Drawn:
    """A network of a few nodes: ``x`` (and ``z``) in, ``y`` out."""

    nodes: list
    inputs: dict
    weights: dict = field(default_factory=dict)
    outputs: tuple = ("y",)
    opset: int = OPSET

    def model(self):
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            [
                helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
                for n, s in self.inputs.items()
            ],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in self.outputs],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, ir_version=8, opset_imports=opsets)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@st.composite
def images(draw, channels=CHANNELS, least=1):
    sizes = st.integers(least, max(13, least))
    return draw(BATCHES), draw(channels), draw(sizes), draw(sizes)


@st.composite
def activations(draw, node, weights):
    """The nodes of a layer: a main one, often with an activation behind it."""
    kind = draw(st.sampled_from(["", "Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSwish", "Swish"]))
    if not kind:
        node.output[0] = "y"
        return [node]
    if kind == "Clip":
        weights |= {"low": np.float32(0), "high": np.float32(6)}
        return [node, helper.make_node("Clip", ["t", "low", "high"], ["y"])]
    if kind == "Swish":
        gate = helper.make_node("Sigmoid", ["t"], ["g"])
        return [node, gate, helper.make_node("Mul", ["t", "g"], ["y"])]
    return [node, helper.make_node(kind, ["t"], ["y"])]
