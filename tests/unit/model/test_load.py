from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from qsdnn.model import load_graph

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
EXPORTS = Path(__file__).parents[2] / "data"

# Layers and millions of multiply-accumulates as this code counts them: what must not drift.
# Equal constant weights let onnxslim merge four of inception_v2's convolutions.
NETWORKS = {
    "bvlc_alexnet": (14, None),
    "densenet121": (246, 2834),
    "inception_v1": (84, 1431),
    "inception_v2": (96, None),
    "resnet50": (57, 4089),
    "shufflenet": (75, None),
    "squeezenet": (39, 349),
    "vgg19": (25, 19632),
    "zfnet512": (14, None),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_onnx_package(name, tmp_path, capfd):
    graph = load_graph(LIGHT / f"light_{name}.onnx", workdir=tmp_path)
    layers, mmacs = NETWORKS[name]
    assert len(graph.layers) == layers
    assert mmacs is None or sum(layer.macs for layer in graph.layers) // 10**6 == mmacs
    assert not any(layer.pinned for layer in graph.layers)
    assert not {layer.kind for layer in graph.layers} & {"other", "eltwise"}
    assert len(graph.inputs) == len(graph.outputs) == 1
    assert all(tensor.static for tensor in graph.tensors.values())
    assert capfd.readouterr() == ("", "")


def randomized(name: str, path: Path) -> Path:
    """A network of the onnx package with random weights instead of ConstantOfShape."""
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    rng = np.random.default_rng(0)
    for node in [n for n in model.graph.node if n.op_type == "ConstantOfShape"]:
        shape = shapes[node.input[0]]
        bound = np.sqrt(6 / max(1, np.prod(shape[1:])))
        low, high = (0.5, 1.5) if len(shape) == 1 else (-bound, bound)
        weight = rng.uniform(low, high, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, node.output[0]))
        model.graph.node.remove(node)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", ["densenet121", "resnet50", "shufflenet"])
def test_simplified_networks_compute_the_same(name, tmp_path, equivalent):
    path = randomized(name, tmp_path / "original.onnx")
    (shape,) = load_graph(path, workdir=tmp_path).shapes.items()
    image = np.random.default_rng(1).standard_normal(shape[1]).astype(np.float32)
    equivalent(path, {shape[0]: image})


@pytest.mark.parametrize(
    ("name", "shapes", "kinds"),
    [
        ("encoder", {}, {"matmul", "norm", "softmax"}),
        ("convnext", {}, {"conv", "depthwise_conv", "norm", "matmul", "transpose"}),
        ("mobile", {}, {"conv", "depthwise_conv", "gemm", "eltwise"}),
        ("dynamic", {"image": (3, 3, 32, 32)}, {"conv", "depthwise_conv", "gemm"}),
        ("pair", {}, {"conv", "concat", "softmax"}),
    ],
)
def test_exports_of_pytorch(name, shapes, kinds, feeds, equivalent, capfd):
    path = EXPORTS / f"{name}.onnx"
    values = feeds(load_graph(path, shapes))
    assert capfd.readouterr() == ("", "")
    graph = equivalent(path, values, shapes)
    assert kinds <= {layer.kind for layer in graph.layers}
    assert not any(layer.pinned for layer in graph.layers)


def test_a_model_that_cannot_be_folded_loads_in_silence(save, capfd):
    """Folding this Gather makes onnxruntime fail, and write to file descriptor 2."""
    nodes = [
        onnx.helper.make_node("Gather", ["table", "far"], ["t"]),
        onnx.helper.make_node("Add", ["x", "t"], ["y"]),
    ]
    weights = {"table": np.ones(4, np.float32), "far": np.array([99])}
    assert load_graph(save(nodes, {"x": [1]}, {"y": [1]}, weights)).layers
    assert capfd.readouterr() == ("", "")


def test_functions_are_inlined(save):
    body = onnx.helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [
            onnx.helper.make_node("Add", ["a", "a"], ["s"]),
            onnx.helper.make_node("Relu", ["s"], ["b"]),
        ],
        [onnx.helper.make_opsetid("", 18)],
    )
    node = onnx.helper.make_node("Twice", ["x"], ["y"], domain="local")
    graph = load_graph(save([node], {"x": [2]}, {"y": [2]}, functions=[body]))
    assert [layer.op_types for layer in graph.layers] == [("Add", "Relu")]


def test_importing_the_package_imports_no_onnx():
    code = "import sys, qsdnn.model.layer; assert not {'onnx', 'onnx_ir'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
