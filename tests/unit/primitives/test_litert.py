"""The host half of the engine litert: what it offers, what it writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from qsdnn import examples
from qsdnn.engine import Engine, EngineInfo, Reserved, load_engines
from qsdnn.errors import BuildError, InputError, UnsupportedLayerError
from qsdnn.model import load_graph
from qsdnn.model.layer import Graph
from qsdnn.model.segment import Artifact, Segment
from qsdnn.plan.build import Builder
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.litert import ENGINE
from qsdnn_primitives.litert.convolution import Window
from qsdnn_primitives.litert.graph import whole
from qsdnn_primitives.litert.schema import RELU6, SAME, VALID
from tests.unit.primitives.test_ncnn import graph_of, model_of, node

INFO = EngineInfo(name="litert", version="")
XNNPACK = Primitive(
    engine="litert", algorithm="xnnpack", precision=Precision.FP32, family="litert/xnnpack"
)


def offers(graph: Graph) -> list[tuple[Primitive, ...]]:
    return [tuple(ENGINE.primitives(layer, INFO)) for layer in graph.layers]


def segment_of(graph: Graph, *choices: Primitive) -> Segment:
    return Segment(
        family=choices[0].family,
        layers=graph.layers,
        choices=choices if len(choices) > 1 else choices * len(graph.layers),
        inputs=graph.inputs,
        outputs=graph.outputs,
        graph=graph,
    )


def build(graph: Graph, choice: Primitive, folder: Path) -> Artifact:
    return ENGINE.build(segment_of(graph, choice), folder)


def kinds(graph: Graph) -> list[str]:
    return [operator.kind for operator in whole(segment_of(graph, XNNPACK)).operators]


def test_is_an_engine_with_a_reserve() -> None:
    assert isinstance(ENGINE, Engine) and isinstance(ENGINE, Reserved)


def test_each_set_of_kernels_is_a_family(tmp_path: Path) -> None:
    model = model_of([node("Conv", "x w")], (1, 4, 9, 9), {"w": (4, 4, 3, 3)})
    graph = graph_of(model, tmp_path)
    (row,) = offers(graph)
    assert [(str(p), p.domain) for p in row] == [
        ("litert/xnnpack/fp32", "litert/xnnpack"),
        ("litert/builtin/fp32", "litert/builtin"),
        ("litert/xnnpack/int8", "litert/xnnpack/s8"),
        ("litert/builtin/int8", "litert/builtin/s8"),
    ]
    (reserve,) = ENGINE.unoffered(graph.layers[0], INFO)
    assert str(reserve) == "litert/reference/fp32"


def test_what_has_no_reference_kernel_is_not_reserved(tmp_path: Path) -> None:
    graph = graph_of(model_of([node("Elu", "x")], (1, 4), {}), tmp_path)
    assert offers(graph)[0] and not ENGINE.unoffered(graph.layers[0], INFO)


DECLINED = {
    "half": model_of([node("Relu", "x")], (1, 3), {}, dtype=TensorProto.FLOAT16),
    "volume": model_of([node("Conv", "x w")], (1, 2, 4, 4, 4), {"w": (2, 2, 3, 3, 3)}),
    "dilated pool": model_of(
        [node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])], (1, 3, 8, 8), {}
    ),
    "transposed convolution of groups": model_of(
        [node("ConvTranspose", "x w", group=2)], (1, 4, 5, 5), {"w": (4, 2, 3, 3)}
    ),
    "pool with negative padding": model_of(
        [node("MaxPool", "x", kernel_shape=[1, 1], strides=[3, 3], auto_pad="SAME_UPPER")],
        (1, 3, 6, 6),
        {},
    ),
    "scalar": model_of([node("ReduceSum", "x", keepdims=0)], (1, 4), {}),
    "operator without a counterpart": model_of([node("Sin", "x")], (1, 4), {}),
    "erf alone": model_of([node("Erf", "x")], (1, 4), {}),
    "padding with the edge": model_of(
        [node("Constant", "", "p", value_ints=[0, 0, 1, 1, 0, 0, 1, 1]),
         node("Pad", "x p", mode="edge")], (1, 2, 4, 4), {}
    ),
    "random": model_of([node("RandomNormalLike", "x")], (1, 4), {}),
}  # fmt: skip


@pytest.mark.parametrize("model", DECLINED.values(), ids=DECLINED.keys())
def test_declines(model: onnx.ModelProto, tmp_path: Path) -> None:
    graph = graph_of(model, tmp_path)
    assert () in offers(graph)
    with pytest.raises(BuildError, match="litert cannot run layer"):
        build(graph, XNNPACK, tmp_path)


@pytest.mark.parametrize(
    "name", ["alexnet", "convnext-atto", "efficientnet-b0", "kws1", "shufflenet-v2", "vit-tiny"]
)
def test_networks_are_covered(name: str, tmp_path: Path) -> None:
    assert all(offers(graph_of(examples.build(name), tmp_path)))


def test_refuses_what_it_does_not_offer(tmp_path: Path) -> None:
    graph = graph_of(model_of([node("Relu", "x")], (1, 4), {}), tmp_path)
    for name, precision in (("gpu", Precision.FP32), ("xnnpack", Precision.INT8)):
        wanted = Primitive(
            engine="litert", algorithm=name, precision=precision, family=f"litert/{name}"
        )
        with pytest.raises(BuildError, match=f"cannot take litert/{name}/{precision}") as caught:
            build(graph, wanted, tmp_path)
        assert "litert/builtin/fp32" in str(caught.value.hint)


def test_integers_need_a_calibration(tmp_path: Path) -> None:
    model = model_of([node("Conv", "x w")], (1, 4, 9, 9), {"w": (4, 4, 3, 3)})
    graph = graph_of(model, tmp_path)
    with pytest.raises(BuildError, match="int8 needs a calibration"):
        build(graph, offers(graph)[0][2], tmp_path)


def test_images_are_turned_at_the_borders_alone(tmp_path: Path) -> None:
    found = kinds(graph_of(examples.build("squeezenet"), tmp_path))
    assert found.count("TRANSPOSE") == 1 and found[0] == "TRANSPOSE"


def test_what_turns_an_image_in_the_network_costs_nothing(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w", "a"),
        node("Transpose", "a", "b", perm=[0, 2, 3, 1]),
        node("MatMul", "b m"),
    ]
    model = model_of(nodes, (1, 4, 9, 9), {"w": (8, 4, 3, 3), "m": (8, 8)})
    assert kinds(graph_of(model, tmp_path)) == ["TRANSPOSE", "CONV_2D", "FULLY_CONNECTED"]


@pytest.mark.parametrize(
    ("behind", "kinds_found"),
    [
        ([node("Relu", "t")], ["CONV_2D"]),
        ([node("Clip", "t low high")], ["CONV_2D"]),
        ([node("HardSwish", "t")], ["CONV_2D", "HARD_SWISH"]),
        ([node("Sigmoid", "t", "g"), node("Mul", "t g")], ["CONV_2D", "LOGISTIC", "MUL"]),
    ],
)
def test_activations_go_into_the_convolution(
    behind: list[onnx.NodeProto], kinds_found: list[str], tmp_path: Path
) -> None:
    model = model_of([node("Conv", "x w", "t"), *behind], (1, 4, 1, 1), {"w": (4, 4, 1, 1)})
    for name, value in (("low", 0.0), ("high", 6.0)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), name))
    found = whole(segment_of(graph_of(model, tmp_path), XNNPACK)).operators
    computing = [operator for operator in found if operator.kind != "RESHAPE"]
    assert [operator.kind for operator in computing] == kinds_found
    if behind[0].op_type == "Clip":
        assert computing[0].options["activation"] == RELU6


def test_the_largest_of_what_is_not_negative_is_padded_with_zeros(tmp_path: Path) -> None:
    pool = node("MaxPool", "r", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    for first, kind in (("Relu", "PAD"), ("Tanh", "PADV2")):
        model = model_of([node(first, "x", "r"), pool], (1, 4, 9, 9), {})
        model.graph.node[1].attribute[1].ints[:] = [2, 0, 2, 0]  # no padding TensorFlow names
        graph = graph_of(onnx.shape_inference.infer_shapes(model), tmp_path)
        assert kind in kinds(graph)


def test_an_artifact_refers_to_the_weights(tmp_path: Path) -> None:
    graph = graph_of(examples.build("alexnet"), tmp_path)
    first, again = (build(graph, XNNPACK, tmp_path) for _ in range(2))
    assert first == again
    assert first.file.endswith(".tflite") and graph.weights.name in first.files
    assert (tmp_path / first.file).stat().st_size < 20_000
    layers = {part["layer"] for part in first.options["profile"]["layers"]}
    assert layers == {layer.index for layer in graph.layers}
    files = {path.name for path in tmp_path.glob("*.bin")}
    assert files == {name for name in first.files if name.endswith(".bin")}
    build(graph, offers(graph)[0][1], tmp_path)  # the built-in kernels share all weights
    assert {path.name for path in tmp_path.glob("*.bin")} == files


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "begin", "out", "padding"),
    [
        (8, 3, 1, 0, 6, VALID),
        (8, 3, 2, 0, 3, VALID),  # an element is left over
        (8, 3, 1, 1, 8, SAME),
        (7, 3, 2, 1, 4, SAME),
        (8, 3, 2, 0, 4, SAME),  # one at the end, as TensorFlow has it
        (8, 3, 2, 1, 4, None),  # one at the beginning, as PyTorch has it
        (8, 2, 1, 1, 8, None),  # SAME_LOWER
        (8, 3, 1, 2, 10, None),
        (8, 1, 1, 0, 8, VALID),
        (8, 1, 3, 0, 3, VALID),
    ],
)
def test_paddings_have_names_where_they_are_the_same(
    size: int, kernel: int, stride: int, begin: int, out: int, padding: int | None
) -> None:
    window = Window(
        size=(size,) * 2, out=(out,) * 2, kernel=(kernel,) * 2, strides=(stride,) * 2,
        dilations=(1, 1), begins=(begin,) * 2,
    )  # fmt: skip
    assert window.padding == padding


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, dict[str, Any], tuple[int, int]]:
    kind = draw(st.sampled_from(["Conv", "MaxPool", "AveragePool"]))
    kernel = [draw(st.integers(1, 4)), draw(st.integers(1, 4))]
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 3)), draw(st.integers(1, 3))],
        "pads": [draw(st.integers(0, k - 1)) for k in kernel * 2],
    }
    if kind == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    if kind != "Conv":
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    else:
        attributes["group"] = draw(st.sampled_from([1, 2, 4]))
    return kind, attributes, (draw(st.integers(4, 9)), draw(st.integers(4, 9)))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(windows())
def test_windows_of_any_shape_are_exact(
    tmp_path_factory: pytest.TempPathFactory,
    window: tuple[str, dict[str, Any], tuple[int, int]],
) -> None:
    pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    from tests.unit.runtime.litert_network import Network

    kind, attributes, size = window
    weights = {"w": (8, 4 // attributes.get("group", 1), *attributes["kernel_shape"])}
    model = model_of(
        [node(kind, "x w" if kind == "Conv" else "x", **attributes)],
        (1, 4, *size),
        weights if kind == "Conv" else {},
    )
    network = Network(model, tmp_path_factory.mktemp("window"))
    session = onnxruntime.InferenceSession(
        network.folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (want,) = session.run(None, network.feeds)
    assume(want.shape == network.graph.tensors["y"].shape)  # it counts some windows otherwise
    assume(all(offers(network.graph)))
    for algorithm in ("xnnpack", "builtin"):
        with network.session(network.choice(algorithm)) as made:
            (got,) = made.run(None, network.feeds)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_graphs_of_layers_read_what_earlier_ones_made(tmp_path: Path) -> None:
    graph = load_graph(_saved("densenet121", tmp_path), workdir=tmp_path)
    profile = build(graph, XNNPACK, tmp_path).options["profile"]
    known = set(profile["inputs"])
    for part in profile["layers"]:
        assert set(part["inputs"]) <= known
        known |= set(part["outputs"])
    assert set(profile["outputs"]) <= known


def _saved(name: str, folder: Path) -> Path:
    onnx.save(examples.build(name), folder / "network.onnx")
    return folder / "network.onnx"


def test_constants_are_read_when_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = graph_of(examples.build("kws1"), tmp_path)
    monkeypatch.setattr("qsdnn_primitives.litert.program.Constant.array", None)
    assert all(offers(graph))


def test_the_engine_alone_runs_on_any_of_its_kernels(tmp_path: Path) -> None:
    graph = graph_of(model_of([node("Elu", "x")], (1, 4), {}), tmp_path)
    builder = Builder(graph, load_engines(["litert"]), tmp_path)
    for algorithm in ("", "builtin"):
        (segment,) = builder.bare("litert", algorithm).manifest["segments"]
        assert segment["family"] == f"litert/{algorithm or 'xnnpack'}"
    with pytest.raises(InputError, match="unknown algorithm of litert 'reference'"):
        builder.bare("litert", "reference")
    graph = graph_of(model_of([node("Elu", "x", "e"), node("Softmax", "e")], (1, 4), {}), tmp_path)
    builder = Builder(graph, load_engines(["litert"]), tmp_path)
    with pytest.raises(UnsupportedLayerError, match=r"litert/reference cannot run layer .*Elu"):
        builder.bare("litert", "reference")
