"""The host half of the blas engine: what it offers, and what it writes."""

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
from qsdnn_primitives.blas import ENGINE

INFO = EngineInfo(name="blas", version="")
FLOAT, HALF, INT = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


def graph_of(model: onnx.ModelProto, folder: Path) -> Graph:
    onnx.save(model, folder / "model.onnx")
    return load_graph(folder / "model.onnx", workdir=folder)


def model_of(
    node: onnx.NodeProto,
    inputs: dict[str, tuple[int, ...]],
    output: tuple[int, ...],
    weights: dict[str, tuple[int, ...]],
    *,
    dtype: int = FLOAT,
    opset: int = 20,
) -> onnx.ModelProto:
    numpy_type = helper.tensor_dtype_to_np_dtype(dtype)
    values = np.random.default_rng(0)
    return helper.make_model(
        helper.make_graph(
            [node],
            "test",
            [helper.make_tensor_value_info(n, dtype, shape) for n, shape in inputs.items()],
            [helper.make_tensor_value_info("y", dtype, output)],
            [
                numpy_helper.from_array(values.standard_normal(shape).astype(numpy_type), name)
                for name, shape in weights.items()
            ],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


def conv(weights: tuple[int, ...], size: int = 8, **attributes: Any) -> onnx.ModelProto:
    """A Conv on one image of that size, padded so that stride 1 keeps it."""
    pads = [k // 2 for k in weights[2:]]
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=pads * 2, **attributes)
    stride = attributes.get("strides", [1])[0]
    channels = weights[1] * attributes.get("group", 1)
    out = (size - 1) // stride + 1
    shapes = {"x": (1, channels, size, size)}
    return model_of(node, shapes, (1, weights[0], out, out), {"w": weights})


def offers(graph: Graph) -> list[tuple[Primitive, ...]]:
    return [tuple(ENGINE.primitives(layer, INFO)) for layer in graph.layers]


def build(graph: Graph, choices: list[Primitive], folder: Path) -> Artifact:
    segment = Segment(
        family="blas",
        layers=graph.layers,
        choices=tuple(choices),
        inputs=graph.inputs,
        outputs=graph.outputs,
        graph=graph,
    )
    return ENGINE.build(segment, folder)


def test_is_an_engine() -> None:
    assert isinstance(ENGINE, Engine)


@pytest.mark.parametrize(
    ("weights", "attributes", "algorithms"),
    [
        (
            (4, 6, 3, 3),
            {},
            ["winograd", "winograd-small", "im2col", "im2row", "kn2row", "kn2col", "direct"],
        ),
        (
            (4, 6, 5, 5),
            {},
            ["winograd", "fft", "im2col", "im2row", "kn2row", "kn2col", "direct"],
        ),
        ((4, 6, 3, 1), {}, ["im2col", "im2row", "kn2row", "kn2col", "direct"]),
        ((4, 6, 3, 3), {"strides": [2, 2]}, ["im2col", "im2row", "direct"]),
        ((4, 6, 1, 1), {}, ["im2col", "direct"]),
        ((4, 6, 1, 1), {"strides": [2, 2]}, ["im2col", "im2row", "direct"]),
        ((4, 3, 3, 3), {"group": 2}, ["im2col", "direct"]),
        ((8, 1, 3, 3), {"group": 4}, ["im2col", "direct"]),
    ],
    ids=["3x3", "5x5", "3x1", "3x3 s2", "1x1", "1x1 s2", "grouped", "depthwise"],
)
def test_algorithms_of_a_convolution(
    weights: tuple[int, ...], attributes: dict[str, Any], algorithms: list[str], tmp_path: Path
) -> None:
    (row,) = offers(graph_of(conv(weights, **attributes), tmp_path))
    assert [p.algorithm for p in row] == algorithms
    assert {(p.engine, p.family, p.precision) for p in row} == {("blas", "blas", Precision.FP32)}


DECLINED = {
    "half": model_of(helper.make_node("Relu", ["x"], ["y"]), {"x": (2, 3)}, (2, 3), {}, dtype=HALF),
    "integers": model_of(
        helper.make_node("Neg", ["x"], ["y"]), {"x": (2, 3)}, (2, 3), {}, dtype=INT
    ),
    "weights that change": model_of(
        helper.make_node("Conv", ["x", "v"], ["y"]),
        {"x": (1, 2, 4, 4), "v": (3, 2, 3, 3)},
        (1, 3, 2, 2),
        {},
    ),
    "operator without a translation": model_of(
        helper.make_node("ConvTranspose", ["x", "w"], ["y"]),
        {"x": (1, 2, 4, 4)},
        (1, 3, 6, 6),
        {"w": (2, 3, 3, 3)},
    ),
    "empty tensor": model_of(helper.make_node("Relu", ["x"], ["y"]), {"x": (0, 3)}, (0, 3), {}),
    "negative padding": model_of(
        helper.make_node("Pad", ["x"], ["y"], pads=[0, -1, 0, 0]),
        {"x": (2, 3)},
        (2, 2),
        {},
        opset=10,
    ),
}


@pytest.mark.parametrize("model", DECLINED.values(), ids=DECLINED.keys())
def test_declines(model: onnx.ModelProto, tmp_path: Path) -> None:
    assert offers(graph_of(model, tmp_path)) == [()]


@pytest.mark.parametrize("name", ["kws1", "ds_kws1", "squeezenet", "mobilenet-v3-small"])
def test_networks_are_covered(name: str, tmp_path: Path) -> None:
    assert all(offers(graph_of(examples.build(name), tmp_path)))


def test_an_artifact_refers_to_the_weights(tmp_path: Path) -> None:
    graph = graph_of(examples.build("kws1"), tmp_path)
    folder, again = tmp_path / "a", tmp_path / "b"
    for path in (folder, again):
        path.mkdir()
    artifact = build(graph, [row[0] for row in offers(graph)], folder)
    assert artifact == build(graph, [row[0] for row in offers(graph)], again)
    assert {path.name for path in folder.iterdir()} == set(artifact.files)
    assert artifact.files == (artifact.file, graph.weights.name)
    assert (folder / graph.weights.name).stat().st_ino == graph.weights.stat().st_ino
    assert (folder / artifact.file).stat().st_size < 20_000  # and 707 KB of weights
    constants = json.loads((folder / artifact.file).read_bytes())["constants"].values()
    assert all(constant.get("offset", 0) % 64 == 0 for constant in constants)


def test_content_names_the_artifact(tmp_path: Path) -> None:
    graph = graph_of(examples.build("tiny-cnn"), tmp_path)
    first, last = ([row[i] for row in offers(graph)] for i in (0, -1))
    assert build(graph, first, tmp_path).file != build(graph, last, tmp_path).file


def test_refuses_what_it_does_not_offer(tmp_path: Path) -> None:
    graph = graph_of(conv((4, 6, 3, 3), strides=[2, 2]), tmp_path)
    kn2row = Primitive(engine="blas", algorithm="kn2row", precision=Precision.FP32, family="blas")
    with pytest.raises(BuildError, match="cannot take blas/kn2row/fp32"):
        build(graph, [kn2row], tmp_path)
    graph = graph_of(DECLINED["half"], tmp_path)
    with pytest.raises(BuildError, match="blas cannot run"):
        build(graph, [kn2row], tmp_path)


def algorithms_at(share, folder):
    """What a convolution may take that has this share of zeros among its weights."""
    weights = np.random.default_rng(0).standard_normal((64, 64, 3, 3)).astype(np.float32)
    weights[np.abs(weights) < np.quantile(np.abs(weights), share)] = 0
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1] * 4)],
        "pruned",
        [info("x", TensorProto.FLOAT, (1, 64, 8, 8))],
        [info("y", TensorProto.FLOAT, (1, 64, 8, 8))],
        [numpy_helper.from_array(weights, "w")],
    )
    imports = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), folder / "net.onnx")
    (layer,) = load_graph(folder / "net.onnx", workdir=folder).layers
    return {p.algorithm for p in ENGINE.primitives(layer, EngineInfo(name="blas", version="1"))}


@pytest.mark.parametrize(("share", "offered"), [(0.5, False), (0.95, False), (0.985, True)])
def test_only_where_almost_all_weights_are_zero(share, offered, tmp_path):
    found = algorithms_at(share, tmp_path)
    assert ("sparse" in found) == offered and "im2col" in found
