"""The way from an example network to an ONNX model."""

from __future__ import annotations

import zlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from qsdnn.examples.network import Network, Node
from qsdnn.examples.weight import Constant, Weight

# The oldest that has LayerNormalization: old runtimes read it.
OPSET = 17
IR_VERSION = 8


def to_model(network: Network, seed: int) -> onnx.ModelProto:
    """The network with weights drawn from a seed; the same seed gives the same bytes.

    Args:
        network: The network to export.
        seed: The seed of the weights, at least 0.
    """
    graph = to_graph(network)
    graph.initializer.extend(draw(weight, seed) for weight in network.weights)
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="qsdnn",
        doc_string=f"seed {seed}",
    )


def to_graph(network: Network) -> onnx.GraphProto:
    """The network's nodes, inputs and outputs, without its weights."""
    renamed = {value.name: name for name, value in network.outputs}
    inputs = [(value.name, value.shape) for value in network.inputs]
    outputs = [(name, value.shape) for name, value in network.outputs]
    return helper.make_graph(
        [_node(node, renamed) for node in network.nodes],
        network.name,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in outputs],
    )


def draw(weight: Weight | Constant, seed: int) -> TensorProto:
    """The values of a weight. Each weight has its own generator, so that order does not matter."""
    if isinstance(weight, Constant):
        integral = all(isinstance(value, int) for value in weight.values)
        values = np.array(weight.values, np.int64 if integral else np.float32)
        return numpy_helper.from_array(values.reshape(weight.shape), weight.name)
    rng = np.random.default_rng([seed, zlib.crc32(weight.name.encode())])
    return numpy_helper.from_array(weight.distribution.draw(rng, weight.shape), weight.name)


def _node(node: Node, renamed: dict[str, str]) -> onnx.NodeProto:
    inputs, outputs = (
        [renamed.get(name, name) for name in names] for names in (node.inputs, node.outputs)
    )
    made = helper.make_node(node.op_type, inputs, outputs, node.name)
    made.attribute.extend(helper.make_attribute(*item) for item in node.attributes.items())
    return made
