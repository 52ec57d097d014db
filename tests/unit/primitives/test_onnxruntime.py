"""onnxruntime's host half: what layers may take, and that each runs as chosen in one session."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from qsdnn.engine import Engine, EngineInfo
from qsdnn.errors import BuildError
from qsdnn.examples.catalog import EXAMPLES
from qsdnn.examples.export import to_model
from qsdnn.model.calibration import load_calibrator
from qsdnn.model.layer import Layer
from qsdnn.model.load import load_graph
from qsdnn.model.segment import Segment, block_of
from qsdnn.plan.build import Builder
from qsdnn.primitive import Precision
from qsdnn_primitives.onnxruntime import ENGINE
from qsdnn_runtime import Session
from qsdnn_runtime.engine import EngineError, SegmentSpec, find_loader

INFO = EngineInfo(name="onnxruntime", version="1")


def _offered(layer, *capabilities):
    info = EngineInfo(name="onnxruntime", version="1", capabilities=capabilities)
    return {str(p): p.domain for p in ENGINE.primitives(layer, info)}


def _graph(folder, *nodes, shape, weights, outputs=("y",), opset=17):
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [info("x", onnx.TensorProto.FLOAT, shape)],
        [info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), folder / "model.onnx")
    return load_graph(folder / "model.onnx", workdir=folder)


def _random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _sqnr_db(got, want):
    return 10 * np.log10(np.sum(want**2) / np.sum((got - want) ** 2))


class Case:
    """A network, calibrated on what it is then fed."""

    def __init__(self, graph, folder):
        self.graph = graph
        self.rows = [ENGINE.primitives(layer, INFO) for layer in graph.layers]
        self.feeds = {n: _random(*graph.tensors[n].shape) for n in graph.inputs}
        calibration = load_calibrator("minmax").calibrate(graph, self.feeds)
        self.builder = Builder(graph, {"onnxruntime": ENGINE}, folder, calibration=calibration)
        reference = self.builder.reference()
        with Session(reference.manifest, artifacts=reference.folder) as session:
            self.wants = session.run(None, self.feeds)

    def run(self, choice):
        package = self.builder.build(choice)
        assert len(package.manifest["segments"]) == 1
        with Session(package.manifest, artifacts=package.folder, profile=True) as session:
            outputs = session.run(None, self.feeds)
            applied = session.applied()
        return outputs, [applied[i] for i in range(len(choice))]


@pytest.fixture(scope="module", params=["tiny-cnn", "squeezenet", "tiny-transformer"])
def case(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    onnx.save(to_model(EXAMPLES[request.param].network(), seed=0), folder / "model.onnx")
    return Case(load_graph(folder / "model.onnx", workdir=folder), folder)


needs_blocks = pytest.mark.skipif(
    "NCHWC" not in find_loader("onnxruntime").probe().capabilities, reason="no blocked layout here"
)


def test_all_choices_of_a_layer_share_one_session():
    pinned = Layer(
        index=0, name="a", kind="loop", nodes=(), inputs=(), outputs=(), pinned="control flow"
    )
    assert isinstance(ENGINE, Engine)
    both = {
        "onnxruntime/nchwc/fp32": "onnxruntime/nchwc",
        "onnxruntime/gemm/fp32": "onnxruntime/nchw",
    }
    assert _offered(pinned) == _offered(pinned, "FP32", "NCHWC") == both
    assert _offered(pinned, "FP32") == {"onnxruntime/gemm/fp32": "onnxruntime/nchw"}


def test_other_providers_have_sessions_of_their_own():
    layer = Layer(index=0, name="a", kind="conv", nodes=(), inputs=(), outputs=())
    told = ("FP32", "ep:cuda/fp32", "ep:tensorrt/fp16")
    info = EngineInfo(name="onnxruntime", version="1", capabilities=told)
    families = {str(p): p.family for p in ENGINE.primitives(layer, info)}
    assert families == {
        "onnxruntime/gemm/fp32": "onnxruntime",
        "onnxruntime/cuda/fp32": "onnxruntime/cuda/fp32",
        "onnxruntime/tensorrt/fp16": "onnxruntime/tensorrt/fp16",
    }


def test_layers_with_integer_kernels_are_offered_them(case):
    offered = {}
    for layer, row in zip(case.graph.layers, case.rows, strict=True):
        domains = [p.domain for p in row if p.precision is Precision.INT8]
        offered.setdefault(layer.kind, set()).add(*domains or [""])
    able = {"conv", "depthwise_conv", "pool", "concat", "gemm", "transpose"} & {*offered}
    assert able
    assert all(offered[kind] == {"onnxruntime/u8"} for kind in able)
    assert all(offered[kind] == {""} for kind in {"softmax", "norm"} & {*offered})


@needs_blocks
@pytest.mark.parametrize("seed", range(3))
def test_each_convolution_runs_blocked_or_not_as_asked(case, seed):
    draw = np.random.default_rng(seed)
    choice = [row[draw.integers(2)] for row in case.rows]
    outputs, applied = case.run(choice)
    assert [a.primitive for a in applied] == [str(p) for p in choice]
    convolutions = [
        (p.algorithm, "Conv(nchwc)" in a.kernel)
        for layer, p, a in zip(case.graph.layers, choice, applied, strict=True)
        if "conv" in layer.kind
    ]
    assert {("nchwc", True), ("gemm", False)} == set(convolutions) or not convolutions
    for got, want in zip(outputs, case.wants, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


@needs_blocks
@pytest.mark.parametrize("seed", range(4))
def test_integers_and_both_fp32_algorithms_mix_in_one_session(case, seed):
    draw = np.random.default_rng(seed)
    choice = [row[draw.integers(len(row))] for row in case.rows]
    outputs, applied = case.run(choice)
    assert [a.primitive for a in applied] == [str(p) for p in choice]
    assert len({a.primitive for a in applied}) == 3
    for got, want in zip(outputs, case.wants, strict=True):
        assert _sqnr_db(got, want) > 20


def test_a_whole_network_runs_in_integers(case):
    choice = [row[-1] for row in case.rows]
    outputs, applied = case.run(choice)
    assert [a.primitive for a in applied] == [str(p) for p in choice]
    for layer, a in zip(case.graph.layers, applied, strict=True):
        assert ("QLinearConv" in a.kernel) == ("conv" in layer.kind)
    for got, want in zip(outputs, case.wants, strict=True):
        assert _sqnr_db(got, want) > 20


@needs_blocks
def test_convolutions_that_share_their_weights_choose_apart(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    weights = {"w": _random(16, 16, 3, 3) / 12}
    graph = _graph(tmp_path, *nodes, shape=(1, 16, 9, 9), weights=weights)
    case = Case(graph, tmp_path)
    for choice in ([0, 1], [1, 0], [1, 2], [2, 0]):
        picked = [row[i] for row, i in zip(case.rows, choice, strict=True)]
        outputs, applied = case.run(picked)
        assert [a.primitive for a in applied] == [str(p) for p in picked]
        assert _sqnr_db(outputs[0], case.wants[0]) > 20


@pytest.mark.parametrize(
    ("attributes", "weight"),
    [
        ({"pads": [0, 1, 2, 3]}, (16, 16, 3, 3)),
        ({"strides": [2, 3], "pads": [1, 0, 0, 1]}, (16, 16, 3, 3)),
        ({"group": 4, "pads": [1, 1, 1, 1]}, (16, 4, 3, 3)),
        ({"group": 16, "strides": [2, 2]}, (16, 1, 5, 5)),
        ({"dilations": [2, 1]}, (7, 16, 3, 3)),
        ({"auto_pad": "SAME_UPPER"}, (16, 16, 2, 2)),
    ],
    ids=str,
)
def test_convolutions_of_all_forms_run_in_integers(tmp_path, attributes, weight):
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], **attributes),
        helper.make_node("Clip", ["c", "low", "high"], ["y"]),
    ]
    weights = {
        "w": _random(*weight, seed=1) / 6,
        "b": _random(weight[0], seed=2),
        "low": np.float32(0),
        "high": np.float32(6),
    }
    graph = _graph(tmp_path, *nodes, shape=(2, 16, 13, 11), weights=weights)
    case = Case(graph, tmp_path)
    assert len(graph.layers) == 1
    outputs, applied = case.run([case.rows[0][-1]])
    assert (applied[0].primitive, applied[0].kernel) == ("onnxruntime/int8/int8", "QLinearConv")
    assert _sqnr_db(outputs[0], case.wants[0]) > 25  # 27.7 where a processor lacks VNNI, else 30


def test_integers_need_a_calibration_of_these_tensors(case, tmp_path):
    choice = [row[-1] for row in case.rows]
    with pytest.raises(BuildError, match="calibration"):
        Builder(case.graph, {"onnxruntime": ENGINE}, tmp_path).build(choice)


def test_a_board_says_whether_it_has_integers(case):
    for told, offered in ((("FP32", "INT8"), True), (("FP32", "NCHWC"), False), ((), True)):
        info = EngineInfo(name="onnxruntime", version="1", capabilities=told)
        names = {str(p) for layer in case.graph.layers for p in ENGINE.primitives(layer, info)}
        assert ("onnxruntime/int8/int8" in names) == offered


def test_older_operators_have_no_integers(tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    shapes = {"shape": (1, 16, 9, 9), "weights": {"w": _random(16, 16, 3, 3)}}
    for opset, offered in ((11, False), (13, True)):
        graph = _graph(tmp_path, node, **shapes, opset=opset)
        names = [str(p) for p in ENGINE.primitives(graph.layers[0], INFO)]
        assert ("onnxruntime/int8/int8" in names) == offered


BLOCKS = [
    layout
    for layout in ("nchw4c", "nchw8c", "nchw16c")
    if f"layout:{layout}" in find_loader("onnxruntime").probe().capabilities
]


def _blocked(values, block):
    n, c, h, w = values.shape
    split = values.reshape(n, c // block, block, h, w).transpose(0, 1, 3, 4, 2)
    return np.ascontiguousarray(split).reshape(values.shape)


def _inside(kinds, c):
    """A layer or more from x to y, of c channels; the weights; and what is left of the nodes."""
    node = helper.make_node
    square = _random(c, c, 3, 3) / np.float32(3 * np.sqrt(c))
    weights = {"w": square, "v": _random(c, c, 1, 1, seed=1) / np.float32(np.sqrt(c))}
    weights |= {"d": _random(c, 1, 3, 3), "low": np.float32(-0.5), "high": np.float32(1)}
    conv = node("Conv", ["x", "w"], ["t"], pads=[1] * 4)
    made = {
        "activation": [conv, node("HardSigmoid", ["t"], ["y"], alpha=0.3, beta=0.4)],
        "clip": [conv, node("Clip", ["t", "low", "high"], ["y"])],
        "elementwise": [conv, node("HardSwish", ["t"], ["y"])],
        "sum": [conv, node("Add", ["t", "x"], ["u"]), node("Relu", ["u"], ["y"])],
        "two sums": [
            conv,
            node("Conv", ["x", "v"], ["r"]),
            node("Add", ["r", "t"], ["s"]),
            node("Add", ["x", "s"], ["y"]),
        ],
        "depthwise": [node("Conv", ["x", "d"], ["y"], group=c, strides=[2, 2], pads=[1] * 4)],
        "pools": [
            node("MaxPool", ["x"], ["t"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
            node("AveragePool", ["t"], ["y"], kernel_shape=[2, 2], pads=[1, 0, 0, 1]),
        ],
        "concat": [conv, node("Concat", ["x", "t"], ["u"], axis=1), node("Relu", ["u"], ["y"])],
        "global": [conv, node("GlobalAveragePool", ["t"], ["y"])],
        "what cannot": [conv, node("Softplus", ["t"], ["u"]), node("Relu", ["u"], ["y"])],
    }
    kept = {
        **dict.fromkeys(("activation", "clip", "sum", "depthwise"), "Conv"),
        "elementwise": "Conv HardSwish",
        "two sums": "Conv Conv Add",
        "pools": "MaxPool AveragePool",
        "concat": "Conv Concat Relu",
        "global": "Conv GlobalAveragePool",
        "what cannot": "Conv ReorderOutput Softplus Relu ReorderInput",
    }
    return made[kinds], {n: np.asarray(w) for n, w in weights.items()}, kept[kinds].split()


INSIDE = [
    *("activation", "clip", "elementwise", "sum", "two sums", "depthwise", "pools", "concat"),
    *("global", "what cannot"),
]


@pytest.mark.skipif(not BLOCKS, reason="no blocked layout here")
@pytest.mark.parametrize("kinds", INSIDE)
@pytest.mark.parametrize("batch", [1, 2])
def test_what_crosses_blocked_is_not_converted(kinds, batch, tmp_path):
    (layout,) = BLOCKS
    block = block_of(layout)
    nodes, weights, kept = _inside(kinds, 2 * block)
    read = {name for node in nodes for name in node.input}
    weights = {name: values for name, values in weights.items() if name in read}
    shape = (batch, 2 * block, 7, 9)
    graph = _graph(tmp_path, *nodes, shape=shape, weights=weights)
    info = EngineInfo(name="onnxruntime", version="", capabilities=("NCHWC", f"layout:{layout}"))
    choice = [ENGINE.primitives(layer, info)[0] for layer in graph.layers]
    assert choice[0].layouts == (layout,)
    whole = [bool(ENGINE.layouts(la, p)) for la, p in zip(graph.layers, choice, strict=True)]
    assert all(whole) == (kinds != "what cannot")
    segment = Segment(
        family=choice[0].family,
        layers=graph.layers,
        choices=tuple(choice),
        inputs=("x",),
        outputs=("y",),
        graph=graph,
        layouts={"x": layout, "y": layout},
    )
    artifact = ENGINE.build(segment, tmp_path)
    written = onnx.load(tmp_path / artifact.file, load_external_data=False).graph.node
    assert [node.op_type for node in written] == kept
    spec = SegmentSpec(
        tmp_path / artifact.file, "onnxruntime", ("x",), ("y",), artifact.options,
        {la.index: str(p) for la, p in zip(graph.layers, choice, strict=True)},
    )  # fmt: skip
    x = _random(*shape, seed=3)
    got = find_loader("onnxruntime").load(spec, 1).call({"x": _blocked(x, block)})["y"]
    with Session(
        Builder(graph, {"onnxruntime": ENGINE}, tmp_path).reference().manifest, artifacts=tmp_path
    ) as session:
        (want,) = session.run(None, {"x": x})
    assert got.shape == want.shape
    np.testing.assert_allclose(got, _blocked(want, block), rtol=0, atol=2e-5 * np.abs(want).max())


def test_an_artifact_of_other_blocks_is_refused(tmp_path):
    spec = SegmentSpec(
        tmp_path / "a.onnx",
        "onnxruntime",
        (),
        (),
        {"layout": "nchw2c"},
        {0: "onnxruntime/nchwc/fp32"},
    )
    with pytest.raises(EngineError, match="layout nchw2c; build it again"):
        find_loader("onnxruntime").load(spec, 1)
