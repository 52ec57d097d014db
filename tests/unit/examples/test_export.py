from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from qsdnn import examples
from qsdnn.examples.export import IR_VERSION, OPSET, draw, to_graph
from qsdnn.examples.weight import Constant

LIGHT = [
    *["cnn", "kws1", "kws9", "ds_cnn", "ds_kws9", "tiny-cnn", "tiny-transformer", "tiny-multi"],
    *["squeezenet", "mobilenet-v2", "mobilenet-v3-small", "efficientnet-b0", "shufflenet-v2"],
    *["densenet121", "resnet18", "convnext-atto", "vit-tiny"],
]


def run(model: onnx.ModelProto, seed: int) -> list[NDArray[Any]]:
    """Outputs for a random input; logits where the network ends in a softmax."""
    last, outputs = model.graph.node[-1], [output.name for output in model.graph.output]
    if last.op_type == "Softmax":
        model = onnx.ModelProto.FromString(model.SerializeToString())
        model.graph.output.append(onnx.ValueInfoProto(name=last.input[0]))
        outputs = [last.input[0]]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(seed)
    feeds = {x.name: rng.standard_normal(x.shape, np.float32) for x in session.get_inputs()}
    return list(session.run(outputs, feeds))


@pytest.mark.parametrize("name", examples.names())
def test_structure_passes_the_full_check(name: str) -> None:
    """With weights as inputs instead of values, which for vgg19 would take seconds to draw."""
    network = examples.EXAMPLES[name].network()
    graph = to_graph(network)
    for weight in network.weights:
        if isinstance(weight, Constant):
            graph.initializer.append(draw(weight, 0))
        else:
            info = onnx.helper.make_tensor_value_info(
                weight.name, onnx.TensorProto.FLOAT, weight.shape
            )
            graph.input.append(info)
    opset = onnx.helper.make_opsetid("", OPSET)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    # Inferring without the declared outputs gives the shapes the builder followed by hand.
    declared = {output.name: output.type for output in graph.output}
    for output in model.graph.output:
        output.ClearField("type")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    assert {output.name: output.type for output in inferred.graph.output} == declared


@pytest.mark.parametrize("name", LIGHT)
def test_outputs_are_finite_and_depend_on_input_and_seed(name: str) -> None:
    model = examples.build(name)
    onnx.checker.check_model(model, full_check=True)
    first, second, reseeded = run(model, 0), run(model, 1), run(examples.build(name, 1), 0)
    for x, y, z in zip(first, second, reseeded, strict=True):
        assert np.isfinite(x).all()
        assert x.std() > 1e-2
        assert x.std() < 1e2
        assert np.abs(x - y).max() > 1e-3
        assert np.abs(x - z).max() > 1e-3


@pytest.mark.parametrize("name", ["kws9", "tiny-multi", "tiny-transformer"])
def test_a_seed_fixes_every_byte(name: str) -> None:
    content = examples.build(name, 3).SerializeToString()
    assert examples.build(name, 3).SerializeToString() == content
    assert examples.build(name, 4).SerializeToString() != content


@pytest.mark.parametrize("name", ["tiny-cnn", "tiny-transformer", "tiny-multi"])
def test_tiny_networks_are_tiny(name: str) -> None:
    assert examples.build(name).ByteSize() < 300_000


def test_weights_are_he_normal() -> None:
    """Those that read rectified activations: variance 2/n (He et al. 2015, equation 10)."""
    model = examples.build("kws1")
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
    for layer in ("conv5", "conv6"):
        values = weights[f"{layer}.weight"]
        fan_in = np.prod(values.shape[1:])
        assert values.std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.02)
