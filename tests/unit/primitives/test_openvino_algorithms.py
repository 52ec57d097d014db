"""OpenVINO by layer, both halves: what is asked for is what the plugin says it executed."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from qsdnn.engine import EngineInfo, load_engines
from qsdnn.model import load_graph
from qsdnn.plan.build import Builder
from qsdnn_primitives.openvino.engine import kind_of
from qsdnn_runtime import EngineError, Session
from qsdnn_runtime.engines.openvino import LOADER, capabilities, hints, loader
from tests.conformance.windows import convs

FOUND = LOADER.probe()
INFO = EngineInfo(name="openvino", version="", capabilities=FOUND.capabilities)
CHOICES = [word for word in FOUND.capabilities if ":" in word]
SHAPE = (1, 16, 12, 12)
TOLERANCE = 3e-5  # of the largest magnitude

pytestmark = pytest.mark.skipif(not CHOICES, reason="this OpenVINO cannot be asked")


def _conv(name, source, outputs, inputs, size, weights, **attributes):
    weights[f"w_{name}"] = (outputs, inputs // attributes.get("group", 1), size, size)
    weights[f"b_{name}"] = (outputs,)
    names = [source, f"w_{name}", f"b_{name}"]
    return helper.make_node("Conv", names, [name], pads=[size // 2] * 4, **attributes)


def _network():
    """Two inputs and two outputs of one shape; every kind of convolution; a residual."""
    shapes = {}
    nodes = [
        _conv("a", "x", 16, 16, 3, shapes),
        helper.make_node("Relu", ["a"], ["ar"]),
        _conv("b", "ar", 32, 16, 1, shapes),
        _conv("c", "b", 32, 32, 3, shapes, group=32),
        helper.make_node("HardSwish", ["c"], ["ch"]),
        _conv("d", "ch", 16, 32, 1, shapes),
        helper.make_node("Add", ["d", "ar"], ["e"]),
        _conv("f", "e", 16, 16, 3, shapes, group=2),
        helper.make_node("Relu", ["f"], ["y"]),
        _conv("g", "v", 16, 16, 3, shapes),
        helper.make_node("Sub", ["g", "y"], ["z"]),
    ]
    rng = np.random.default_rng(0)
    scaled = {n: rng.standard_normal(s) / np.prod(s[1:]) ** 0.5 for n, s in shapes.items()}
    graph = helper.make_graph(
        nodes,
        "kinds",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, SHAPE) for n in ("x", "v")],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, SHAPE) for n in ("z", "y")],
        [numpy_helper.from_array(w.astype(np.float32), n) for n, w in scaled.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=opsets))


class Bench:
    """A network, what each layer may take, and what onnxruntime makes of it."""

    def __init__(self, model, folder):
        onnx.save(model, folder / "model.onnx")
        self.graph = load_graph(folder / "model.onnx", workdir=folder)
        engines = load_engines(["openvino"])
        self.builder = Builder(self.graph, engines, folder)
        self.rows = [list(engines["openvino"].primitives(la, INFO)) for la in self.graph.layers]
        rng = np.random.default_rng(0)
        self.feeds = {
            name: rng.standard_normal(self.graph.tensors[name].shape).astype(np.float32)
            for name in self.graph.inputs
        }
        reference = self.builder.reference()
        with Session(reference.manifest, artifacts=folder) as session:
            self.wants = session.run(None, self.feeds)

    def row(self, layer, precision="fp32"):
        return [p for p in self.rows[layer] if p.precision == precision]

    def uniform(self, algorithm, precision="fp32"):
        rows = [self.row(i, precision) or self.row(i) for i in range(len(self.rows))]
        return [next((p for p in row if p.algorithm == algorithm), row[0]) for row in rows]

    def run(self, choice):
        """What the plugin took for each layer, and how far the outputs are off."""
        package = self.builder.build(choice)
        assert len(package.manifest["segments"]) == 1
        with Session(package.manifest, artifacts=package.folder, profile=True) as session:
            gots = session.run(None, self.feeds)
            taken = [one.primitive for _, one in sorted(session.applied().items())]
        pairs = zip(gots, self.wants, strict=True)
        return taken, max(float(np.abs(g - w).max() / np.abs(w).max()) for g, w in pairs)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(_network(), tmp_path_factory.mktemp("kinds"))


def test_what_the_board_told_is_offered_by_kind(bench):
    kinds = [kind_of(layer) for layer in bench.graph.layers]
    expected = "conv conv depthwise grouped pointwise pointwise"
    assert " ".join(sorted(filter(None, kinds))) == expected
    told = {kind: set() for kind in kinds}
    for word in CHOICES:
        kind, _, choice = word.partition(":")
        told.setdefault(kind, set()).add(choice)
    for layer, kind in enumerate(kinds):
        names = {f"{p.algorithm}/{p.precision}" for p in bench.rows[layer]}
        wanted = {name for name in told[kind] if not name.endswith("/fp16")} if kind else set()
        assert names == wanted | {"auto/fp32"}


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_each_layer_of_one_graph_runs_what_it_was_asked(bench, data):
    choice = [data.draw(st.sampled_from(bench.row(i))) for i in range(len(bench.rows))]
    taken, error = bench.run(choice)
    assert taken == [str(p) for p in choice]
    assert error < TOLERANCE


@pytest.mark.slow
def test_any_convolution_runs_any_algorithm_offered_for_it():
    """Shapes, strides, dilations, groups and padding as they come, at the start of a graph."""
    seen = set()

    @settings(
        max_examples=25, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(drawn=convs())
    def check(drawn):
        with tempfile.TemporaryDirectory() as scratch:
            bench = Bench(drawn.model(), Path(scratch))
            if not all(bench.rows):
                reject()
            for primitive in bench.row(0):
                taken, error = bench.run(bench.uniform(primitive.algorithm))
                assert taken[0] == str(primitive)
                assert error < TOLERANCE
                seen.add(primitive.algorithm)

    check()
    usual = [word.split(":")[1] for word in CHOICES if word.startswith(("conv:", "pointwise:"))]
    assert {word[: -len("/fp32")] for word in usual if word.endswith("/fp32")} <= seen


def test_what_the_plugin_does_not_have_is_not_told_as_taken(bench, monkeypatch):
    """It falls back without a word."""
    choice = bench.uniform("auto")
    package = bench.builder.build(choice)
    layers = package.manifest["segments"][0]["layers"]
    layers[2]["primitive"] = "openvino/jit_abacus/fp32"
    with Session(package.manifest, artifacts=package.folder, profile=True) as session:
        session.run(None, bench.feeds)
        taken = session.applied()
    assert taken[2].primitive not in ("openvino/jit_abacus/fp32", "openvino/auto/fp32")
    assert taken[2].primitive.split("/")[1] in taken[2].kernel
    assert all(taken[i].primitive == str(p) for i, p in enumerate(choice) if i != 2)


def test_without_an_anchor_the_first_convolution_could_not_be_asked(bench, monkeypatch):
    asked = {name: bench.uniform(name) for name in {p.algorithm for p in bench.row(0)}}
    monkeypatch.setattr(loader, "add_anchors", lambda model, names: None)
    kept = [name for name, choice in asked.items() if bench.run(choice)[0][0] == str(choice[0])]
    assert "auto" in kept
    assert len(kept) < len(asked)


def test_kernels_are_never_shared_between_nodes(bench, monkeypatch):
    """The plugin's cache would let two nodes of one shape share a kernel under two names."""
    seen, real = [], loader.core()

    class Core:
        def __getattr__(self, name):
            return getattr(real, name)

        def compile_model(self, model, device, properties):
            seen.append(properties)
            return real.compile_model(model, device, properties)

    for module in (loader, capabilities):
        monkeypatch.setattr(module, "core", Core)
    LOADER.probe()
    probed = len(seen)
    bench.run(bench.uniform(bench.row(0)[-1].algorithm))
    assert 0 < probed < len(seen)
    assert {properties["CPU_RUNTIME_CACHE_CAPACITY"] for properties in seen} == {0}


def test_weights_are_not_written_to_disk_again(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sizes, annotated = [], hints._annotated

    def spy(path, wanted):
        sizes.append(sum(file.stat().st_size for file in path.parent.glob("*.bin")))
        return annotated(path, wanted)

    monkeypatch.setattr(hints, "_annotated", spy)
    bench.run(bench.uniform("auto"))
    assert sizes == []  # what asks for nothing is read as it is
    bench.run(bench.uniform(bench.row(2)[-1].algorithm))
    assert max(sizes) < 2000 < bench.graph.weights.stat().st_size
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_model_is_an_error(bench, tmp_path):
    package = bench.builder.build(bench.uniform(bench.row(0)[-1].algorithm))
    entry = package.manifest["segments"][0]
    for name in package.manifest["artifacts"]:
        content = (package.folder / name).read_bytes()
        (tmp_path / name).write_bytes(content[::-1] if name == entry["artifact"] else content)
    with pytest.raises(EngineError, match="openvino, layers"):
        Session(package.manifest, artifacts=tmp_path, verify=False)
