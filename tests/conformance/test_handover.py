"""Tensors handed over as they lie: plans that do so give onnxruntime's outputs."""

import dataclasses
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from qsdnn.board import Record, State
from qsdnn.cost.terms import ENTER, LEAVE
from qsdnn.engine import load_engines
from qsdnn.model import load_graph
from qsdnn.model.segment import block_of, fits, told_layouts
from qsdnn.plan.build import Builder
from qsdnn.space import space_of
from qsdnn.tuning.trial import Trial
from qsdnn_runtime import Session
from qsdnn_runtime.program.values import max_error

from .backend import infos

TOLERANCE = 3e-5  # as in test_layers.py
EXAMPLES = 25

pytestmark = pytest.mark.skipif(
    not {"ncnn", "onnxruntime"} <= {*infos()}, reason="needs ncnn and onnxruntime"
)


def common_layouts():
    told = [set(told_layouts(infos()[name].capabilities)) for name in ("ncnn", "onnxruntime")]
    return set.intersection(*told)


@st.composite
def networks(draw, channels):
    """Some layers after one another, with windows, activations, sums and concatenations."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    sizes = st.sampled_from(channels)
    width = draw(sizes)
    shape = (1, draw(st.sampled_from([3, *channels])), draw(st.integers(4, 9)), 7)
    nodes, weights, last = [], {}, ("x", shape[1])

    def conv(source, inputs, outputs, kernel, group=1, **more):
        name = f"w{len(weights)}"
        size = (outputs, inputs // group, kernel, kernel)
        scale = np.float32(1 / np.sqrt(np.prod(size[1:])))
        weights[name] = rng.standard_normal(size).astype(np.float32) * scale
        weights[f"b{name}"] = rng.standard_normal(outputs).astype(np.float32)
        made = f"t{len(nodes)}"
        reads = [source, name, f"b{name}"][: 2 + draw(st.booleans())]
        nodes.append(
            helper.make_node("Conv", reads, [made], auto_pad="SAME_UPPER", group=group, **more)
        )
        return made

    def simple(kind, *reads, **more):
        made = f"t{len(nodes)}"
        nodes.append(helper.make_node(kind, [*reads], [made], **more))
        return made

    def acted(made):
        kind = draw(st.sampled_from(["", "Relu", "LeakyRelu", "Clip", "HardSwish", "Sigmoid"]))
        if kind == "Clip":
            weights.update(low=np.float32(-0.5), high=np.float32(2))
            return simple(kind, made, "low", "high")
        return simple(kind, made) if kind else made

    for _ in range(draw(st.integers(3, 6))):
        source, inputs = last
        kind = draw(st.sampled_from(["conv", "conv", "conv", "residual", "pool", "concat", "dw"]))
        if kind == "conv":
            width = draw(sizes)
            stride = draw(st.sampled_from([1, 1, 2]))
            made = conv(source, inputs, width, draw(st.sampled_from([1, 3])), strides=[stride] * 2)
            last = acted(made), width
        elif kind == "residual":
            inner = acted(conv(source, inputs, inputs, 3))
            last = acted(simple("Add", conv(inner, inputs, inputs, 1), source)), inputs
        elif kind == "pool":
            pool = draw(st.sampled_from(["MaxPool", "AveragePool"]))
            last = simple(pool, source, kernel_shape=[2, 2], pads=[0, 0, 1, 1]), inputs
        elif kind == "dw":
            last = acted(conv(source, inputs, inputs, 3, group=inputs)), inputs
        else:
            left, right = conv(source, inputs, width, 1), conv(source, inputs, width, 3)
            last = simple("Concat", left, right, axis=1), 2 * width
    if draw(st.booleans()):
        last = simple("GlobalAveragePool", last[0]), last[1]
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(last[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    return onnx.shape_inference.infer_shapes(model, strict_mode=True), shape


def reference(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def run(package, folder, feeds):
    with Session(package.manifest, artifacts=folder, profile=True) as session:
        names = [output.name for output in session.get_outputs()]
        got = dict(zip(names, session.run(None, feeds), strict=True))
        again = session.run(None, feeds)
        applied = session.applied()
    for name, value in zip(names, again, strict=True):
        assert value.tobytes() == got[name].tobytes()
    with Session(package.manifest, artifacts=folder) as session:
        plain = dict(zip(names, session.run(None, feeds), strict=True))
    return got, plain, applied


@pytest.mark.parametrize("aligned", [True, False], ids=["whole blocks", "any channels"])
@pytest.mark.parametrize("engines", [("onnxruntime", "ncnn"), None], ids=["two", "all engines"])
def test_plans_that_hand_over_in_blocks_are_exact(engines, aligned):
    block = max((block_of(layout) for layout in common_layouts()), default=16)
    whole = [block, 2 * block]
    channels = whole if aligned else [*whole, *whole, *whole, 4, 12, block + 8, 5]
    seen = Counter()

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(drawn=networks(channels), seed=st.integers(0, 99))
    def check(drawn, seed):
        model, shape = drawn
        rng = np.random.default_rng(seed)
        feeds = {"x": rng.standard_normal(shape).astype(np.float32)}
        with tempfile.TemporaryDirectory() as scratch:
            onnx.save(model, Path(scratch) / "model.onnx")
            _check_plan(model, feeds, Path(scratch), engines, rng, seen)

    check()
    print(dict(seen))
    if common_layouts():
        assert seen["blocked"] > (EXAMPLES if aligned else 5)
        passed = {pair for pair in seen if " to " in pair and seen[pair]}
        both = {"onnxruntime to ncnn", "ncnn to onnxruntime"}
        assert passed >= both if engines else len(passed) > 2
        assert aligned or seen["plain"]


def _check_plan(model, feeds, folder, names, rng, seen):
    graph = load_graph(folder / "model.onnx", workdir=folder)
    engines = load_engines(names)
    space = space_of(graph, engines, infos())
    choice = [_pick(space, row, rng) for row in space.mask]
    package = Builder(graph, engines, folder).build(choice)
    got, plain, applied = run(package, folder, feeds)
    want = reference(model, feeds)
    assert max_error(got, want) < TOLERANCE, [str(p) for p in choice]
    assert max_error(plain, want) < TOLERANCE, [str(p) for p in choice]
    for index, primitive in enumerate(choice):
        if primitive.engine == "onnxruntime" and engines["onnxruntime"].layouts(
            graph.layers[index], primitive
        ):
            assert applied[index].primitive == str(primitive)
    tensors = package.manifest["tensors"]
    for segment in package.manifest["segments"]:
        for name in segment["outputs"]:
            spec = tensors[name]
            if "layout" in spec:
                assert fits(spec["layout"], graph.tensors[name])
                seen["blocked"] += 1
                for reader in package.manifest["segments"]:
                    if name in reader["inputs"]:
                        seen[f"{segment['engine']} to {reader['engine']}"] += 1
            elif len(spec["shape"]) == 4:
                seen["plain"] += 1
    stripped = [dataclasses.replace(primitive, layouts=()) for primitive in choice]
    manifest = Builder(graph, engines, folder).build(stripped).manifest
    assert not any("layout" in spec for spec in manifest["tensors"].values())


def _pick(space, row, rng):
    """A primitive of an engine that is drawn first: blocked ones as often as all others."""
    allowed = [space.primitives[i] for i in np.flatnonzero(row)]
    blocked = [primitive for primitive in allowed if primitive.layouts]
    options = blocked if blocked and rng.random() < 0.8 else allowed
    engine = rng.choice(sorted({primitive.engine for primitive in options}))
    mine = [primitive for primitive in options if primitive.engine == engine]
    return mine[rng.integers(len(mine))]


def _converted(graph, engines, space, choice, folder):
    """What the cost model is told of the layout, by segment: which way, and which tensor."""
    builder = Builder(graph, engines, folder)
    segments = builder.segments(choice)
    record = Record(state=State.OK, runs_ms=(1.0,), segments_ms=((1.0,) * len(segments),))
    trial = Trial(
        choice=np.array([space.primitives.index(primitive) for primitive in choice]),
        segments=tuple(segments),
        package=builder.package(segments),
        record=record,
    )
    ((label, _),) = space.shared_layouts
    found = [
        [(way, space.edges[t].tensor) for way, t, at in part.crossings if at == label]
        for part in trial.observations(space)
    ]
    return found if any(found) else []


def test_a_layout_survives_the_cut_by_families(tmp_path):
    """A residual that passes from one session of onnxruntime to the next stays in blocks."""
    if not common_layouts():
        pytest.skip("no layout in common here")
    (layout,) = common_layouts()
    channels = 2 * block_of(layout)
    rng = np.random.default_rng(0)
    weights = {
        f"w{i}": rng.standard_normal((channels, channels, k, k)).astype(np.float32) / (4 * k * k)
        for i, k in enumerate((1, 3, 1))
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Conv", ["d", "w2"], ["e"]),
        helper.make_node("Add", ["e", "b"], ["f"]),
        helper.make_node("Relu", ["f"], ["y"]),
    ]
    shape = (1, channels, 6, 5)
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(onnx.shape_inference.infer_shapes(model), tmp_path / "model.onnx")
    graph = load_graph(tmp_path / "model.onnx", workdir=tmp_path)
    engines = load_engines(("onnxruntime", "ncnn"))
    space = space_of(graph, engines, infos())
    names = [str(primitive) for primitive in space.primitives]
    wanted = ["onnxruntime/nchwc/fp32", "ncnn/winograd/fp32", "onnxruntime/nchwc/fp32"]
    choice = [space.primitives[names.index(name)] for name in wanted]
    package = Builder(graph, engines, tmp_path).build(choice)
    assert {n: s.get("layout") for n, s in package.manifest["tensors"].items()} == {
        "x": None, "b": layout, "d": layout, "y": None,
    }  # fmt: skip
    assert _converted(graph, engines, space, choice, tmp_path) == []
    gemm = space.primitives[names.index("onnxruntime/gemm/fp32")]
    assert _converted(graph, engines, space, [*choice[:2], gemm], tmp_path) == [
        [(LEAVE, "b")], [(ENTER, "b"), (LEAVE, "d")], [],
    ]  # fmt: skip
    feeds = {"x": rng.standard_normal(shape).astype(np.float32)}
    got, plain, applied = run(package, tmp_path, feeds)
    want = reference(model, feeds)
    assert max_error(got, want) < TOLERANCE and max_error(plain, want) < TOLERANCE
    assert [applied[i].primitive for i in range(3)] == wanted
    assert [applied[i].kernel for i in (0, 2)] == ["Conv(nchwc)"] * 2, "something was not fused"
