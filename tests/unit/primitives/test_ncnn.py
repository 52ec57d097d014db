"""The host half of the ncnn engine: what it offers, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qsdnn import examples
from qsdnn.engine import Engine, EngineInfo
from qsdnn.errors import BuildError
from qsdnn.model import load_graph
from qsdnn.model.layer import Graph
from qsdnn.model.segment import Artifact, Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.ncnn import ENGINE

INFO = EngineInfo(name="ncnn", version="")
Shape = tuple[int, ...]


def graph_of(model: onnx.ModelProto, folder: Path) -> Graph:
    onnx.save(model, folder / "model.onnx")
    return load_graph(folder / "model.onnx", workdir=folder)


def model_of(
    nodes: list[onnx.NodeProto], shape: Shape, weights: dict[str, Shape], dtype: int = 1
) -> onnx.ModelProto:
    values = np.random.default_rng(0)
    numpy_type = helper.tensor_dtype_to_np_dtype(dtype)
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info("x", dtype, shape)],
            [helper.make_tensor_value_info("y", dtype, None)],
            [
                numpy_helper.from_array(values.standard_normal(shape).astype(numpy_type), name)
                for name, shape in weights.items()
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return onnx.shape_inference.infer_shapes(model)


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def conv(weights: Shape, **attributes: Any) -> onnx.ModelProto:
    channels = weights[1] * attributes.get("group", 1)
    return model_of([node("Conv", "x w", **attributes)], (1, channels, 12, 12), {"w": weights})


def offers(graph: Graph) -> list[tuple[Primitive, ...]]:
    return [tuple(ENGINE.primitives(layer, INFO)) for layer in graph.layers]


def build(graph: Graph, choices: list[Primitive], folder: Path) -> Artifact:
    folder.mkdir(exist_ok=True)
    segment = Segment(
        family="ncnn",
        layers=graph.layers,
        choices=tuple(choices),
        inputs=graph.inputs,
        outputs=graph.outputs,
        graph=graph,
    )
    return ENGINE.build(segment, folder)


def operators(artifact: Artifact, folder: Path) -> list[list[str]]:
    document = json.loads((folder / artifact.file).read_bytes())
    return [line.split() for line in document["param"].splitlines()[2:]]


def test_is_an_engine() -> None:
    assert isinstance(ENGINE, Engine)


@pytest.mark.parametrize(
    ("weights", "attributes", "algorithms"),
    [
        ((32, 16, 3, 3), {}, ["winograd", "sgemm", "direct"]),
        ((16, 3, 3, 3), {}, ["winograd", "direct"]),
        ((8, 8, 3, 3), {}, ["auto"]),
        ((32, 16, 3, 3), {"strides": [2, 2]}, ["sgemm", "direct"]),
        ((32, 16, 3, 3), {"dilations": [2, 2]}, ["sgemm", "direct"]),
        ((64, 3, 7, 7), {"strides": [2, 2]}, ["sgemm", "direct"]),
        ((16, 3, 7, 7), {"strides": [2, 2]}, ["auto"]),
        ((64, 64, 1, 1), {}, ["auto"]),
        ((32, 1, 3, 3), {"group": 32}, ["auto"]),
        ((32, 16, 3, 3), {"group": 2}, ["auto"]),
    ],
)
def test_algorithms_of_a_convolution(
    weights: Shape, attributes: dict[str, Any], algorithms: list[str], tmp_path: Path
) -> None:
    (row,) = offers(graph_of(conv(weights, **attributes), tmp_path))
    assert [p.algorithm for p in row] == algorithms
    assert {(p.engine, p.family, p.precision) for p in row} == {("ncnn", "ncnn", Precision.FP32)}


DECLINED = {
    "batch of two": model_of([node("Relu", "x")], (2, 3, 4, 4), {}),
    "no batch": model_of([node("Relu", "x")], (5,), {}),
    "half": model_of([node("Relu", "x")], (1, 3), {}, dtype=TensorProto.FLOAT16),
    "convolution of a signal": model_of([node("Conv", "x w")], (1, 4, 9), {"w": (4, 4, 3)}),
    "dilated pool": model_of(
        [node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])], (1, 3, 8, 8), {}
    ),
    "maximum over channels": model_of([node("ReduceMax", "x", axes=[1])], (1, 3, 4, 4), {}),
    "operator without a counterpart": model_of([node("Sin", "x")], (1, 4), {}),
    "product of activations": model_of([node("MatMul", "x x")], (1, 4, 4), {}),
    "random": model_of([node("RandomNormalLike", "x")], (1, 4), {}),
}


@pytest.mark.parametrize("model", DECLINED.values(), ids=DECLINED.keys())
def test_declines(model: onnx.ModelProto, tmp_path: Path) -> None:
    assert () in offers(graph_of(model, tmp_path))


@pytest.mark.parametrize(
    "name",
    ["alexnet", "densenet121", "ds_kws1", "efficientnet-b0", "mobilenet-v3-small", "shufflenet"],
)
def test_networks_are_covered(name: str, tmp_path: Path) -> None:
    assert all(offers(graph_of(examples.build(name), tmp_path)))


def test_every_operator_says_its_layer_and_every_blob_has_one_reader(tmp_path: Path) -> None:
    graph = graph_of(examples.build("tiny-cnn"), tmp_path)
    artifact = build(graph, [row[0] for row in offers(graph)], tmp_path / "a")
    lines = operators(artifact, tmp_path / "a")
    owners = {line[1].partition(":")[0] for line in lines if line[0] != "Input"}
    assert owners == {str(layer.index) for layer in graph.layers}
    read = [blob for line in lines for blob in line[4 : 4 + int(line[2])]]
    assert len(read) == len(set(read))


def test_algorithms_are_masks_of_one_network(tmp_path: Path) -> None:
    graph = graph_of(examples.build("kws1"), tmp_path)
    rows = offers(graph)
    for turn, mask in ((0, None), (1, "31=64"), (2, "31=96")):
        choices = [row[min(turn, len(row) - 1)] for row in rows]
        folder = tmp_path / str(turn)
        lines = operators(build(graph, choices, folder), folder)
        masked = [line for line in lines if mask in line]
        assert bool(masked) == (mask is not None)
        assert all(line[0] == "Convolution" for line in masked)


@pytest.mark.parametrize(
    ("behind", "kinds", "params"),
    [
        ([node("Relu", "t")], ["Convolution"], ["9=1"]),
        ([node("LeakyRelu", "t", alpha=0.5)], ["Convolution"], ["9=2", "-23310=1,5.000000000e-01"]),
        ([node("Sigmoid", "t", "g"), node("Mul", "t g")], ["Convolution", "Swish"], []),
        ([node("HardSwish", "t")], ["Convolution"], ["9=6"]),
        ([node("Sigmoid", "t", "g"), node("Add", "t g")],
         ["Convolution", "Split", "Sigmoid", "BinaryOp"], []),
    ],
)  # fmt: skip
def test_activations_go_into_the_convolution(
    behind: list[onnx.NodeProto], kinds: list[str], params: list[str], tmp_path: Path
) -> None:
    model = model_of([node("Conv", "x w", "t"), *behind], (1, 4, 5, 5), {"w": (4, 4, 1, 1)})
    graph = graph_of(model, tmp_path)
    artifact = build(graph, [row[0] for row in offers(graph)], tmp_path / "a")
    lines = [line for line in operators(artifact, tmp_path / "a") if line[0] != "Input"]
    assert [line[0] for line in lines] == kinds
    assert set(params) <= set(lines[0])


def test_an_artifact_refers_to_the_weights(tmp_path: Path) -> None:
    graph = graph_of(examples.build("kws1"), tmp_path)
    choices = [row[0] for row in offers(graph)]
    first, again = (build(graph, choices, tmp_path / name) for name in ("a", "b"))
    assert first == again
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(first.files)
    assert first.files == (first.file, graph.weights.name)
    assert (tmp_path / "a" / graph.weights.name).stat().st_ino == graph.weights.stat().st_ino
    assert (tmp_path / "a" / first.file).stat().st_size < 20_000  # and 707 KB of weights
    other = build(graph, [row[-1] for row in offers(graph)], tmp_path / "a")
    assert other.file != first.file and other.files[1:] == first.files[1:]


def test_refuses_what_it_does_not_offer(tmp_path: Path) -> None:
    graph = graph_of(conv((64, 64, 1, 1)), tmp_path)
    wanted = Primitive(engine="ncnn", algorithm="winograd", precision=Precision.FP32, family="ncnn")
    with pytest.raises(BuildError, match="cannot take ncnn/winograd/fp32"):
        build(graph, [wanted], tmp_path / "a")
    with pytest.raises(BuildError, match="ncnn cannot run"):
        build(graph_of(DECLINED["batch of two"], tmp_path), [wanted], tmp_path / "a")
