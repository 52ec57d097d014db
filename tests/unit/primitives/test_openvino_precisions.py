"""OpenVINO: fp32, bf16 and int8 in one graph, each layer in what it was asked, as read back."""

import numpy as np
import onnx
import pytest

from qsdnn.engine import EngineInfo, load_engines
from qsdnn.errors import BuildError
from qsdnn.examples.catalog import EXAMPLES
from qsdnn.examples.export import to_model
from qsdnn.model.calibration import load_calibrator
from qsdnn.model.load import load_graph
from qsdnn.plan.build import Builder
from qsdnn.primitive import Precision
from qsdnn_runtime import EngineError, Session
from qsdnn_runtime.engines.openvino import LOADER, loader

FOUND = LOADER.probe()
INFO = EngineInfo(name="openvino", version="", capabilities=FOUND.capabilities)
BF16, FP32, INT8 = Precision.BF16, Precision.FP32, Precision.INT8
LEAST_DB = {BF16: 30, INT8: 20}

pytestmark = pytest.mark.skipif(
    not any(word.endswith("/int8") for word in FOUND.capabilities), reason="it has no integers here"
)


def _sqnr_db(got, want):
    return 10 * np.log10(np.sum(want**2) / np.sum((got - want) ** 2))


class Case:
    """A network, calibrated on what it is then fed."""

    def __init__(self, name, folder):
        onnx.save(to_model(EXAMPLES[name].network(), seed=0), folder / "model.onnx")
        self.graph = load_graph(folder / "model.onnx", workdir=folder)
        self.engines = load_engines(["openvino"])
        engine = self.engines["openvino"]
        self.rows = [engine.primitives(layer, INFO) for layer in self.graph.layers]
        rng = np.random.default_rng(0)
        self.feeds = {
            n: rng.standard_normal(self.graph.tensors[n].shape).astype(np.float32)
            for n in self.graph.inputs
        }
        calibration = load_calibrator("minmax").calibrate(self.graph, self.feeds)
        self.builder = Builder(self.graph, self.engines, folder, calibration=calibration)
        reference = self.builder.reference()
        with Session(reference.manifest, artifacts=folder) as session:
            self.wants = session.run(None, self.feeds)

    def uniform(self, precision):
        return [next((p for p in row if p.precision is precision), row[0]) for row in self.rows]

    def drawn(self, seed):
        draw = np.random.default_rng(seed)
        return [row[draw.integers(len(row))] for row in self.rows]

    def run(self, choice):
        package = self.builder.build(choice)
        assert len(package.manifest["segments"]) == 1
        with Session(package.manifest, artifacts=package.folder, profile=True) as session:
            gots = session.run(None, self.feeds)
            applied = [one for _, one in sorted(session.applied().items())]
        least = min(_sqnr_db(got, want) for got, want in zip(gots, self.wants, strict=True))
        return [one.primitive for one in applied], least, applied


@pytest.fixture(scope="module", params=["tiny-cnn", "squeezenet", "mobilenet-v2"])
def case(request, tmp_path_factory):
    return Case(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Case("tiny-cnn", tmp_path_factory.mktemp("tiny"))


needs_bf16 = pytest.mark.skipif("BF16" not in INFO.capabilities, reason="this CPU has no bf16")


@pytest.mark.parametrize("precision", [pytest.param(BF16, marks=needs_bf16), INT8], ids=str)
def test_a_network_runs_in_one_precision(case, precision):
    choice = case.uniform(precision)
    taken, least_db, applied = case.run(choice)
    assert taken == [str(p) for p in choice]
    assert sum(p.precision is precision for p in choice) >= len(choice) - 1
    assert least_db > LEAST_DB[precision]
    word = {BF16: "_bf16)", INT8: "_I8)"}[precision]
    for layer, one in zip(case.graph.layers, applied, strict=True):
        assert "conv" not in layer.kind or one.kernel.endswith(word)


@needs_bf16
@pytest.mark.parametrize("seed", range(4))
def test_precisions_and_algorithms_mix_in_one_graph(case, seed):
    choice = case.drawn(seed)
    assert {p.precision for p in choice} == {BF16, FP32, INT8}
    taken, least_db, _ = case.run(choice)
    assert taken == [str(p) for p in choice]
    assert least_db > LEAST_DB[INT8]


@needs_bf16
def test_every_layer_but_one_in_bf16_leaves_that_one_in_fp32(tiny):
    for index in range(len(tiny.rows)):
        choice = tiny.uniform(BF16)
        choice[index] = tiny.rows[index][0]
        taken, _, _ = tiny.run(choice)
        assert taken == [str(p) for p in choice]


def test_every_layer_but_one_in_int8_leaves_that_one_in_fp32(tiny):
    for index in range(len(tiny.rows)):
        choice = tiny.uniform(INT8)
        choice[index] = tiny.rows[index][0]
        taken, _, _ = tiny.run(choice)
        assert taken == [str(p) for p in choice]


def test_without_what_keeps_them_layers_tell_that_they_ran_otherwise(tiny, monkeypatch):
    """Integers run on through a pool between two layers that have them."""
    monkeypatch.setattr(loader, "make_durable", lambda model, owners, requests: None)
    choice = tiny.uniform(INT8)
    pools = [i for i, layer in enumerate(tiny.graph.layers) if layer.kind == "pool"]
    for pool in pools:
        choice[pool] = tiny.rows[pool][0]
    taken, _, _ = tiny.run(choice)
    assert any(taken[pool] == "openvino/auto/int8" for pool in pools)


def test_a_layer_that_asked_for_int8_and_did_not_get_it_is_told(tiny):
    package = tiny.builder.build(tiny.uniform(FP32))
    convs = [i for i, layer in enumerate(tiny.graph.layers) if layer.kind == "conv"]
    for entry in package.manifest["segments"][0]["layers"]:
        if entry["index"] in convs:
            entry["primitive"] = "openvino/auto/int8"
    with Session(package.manifest, artifacts=package.folder, profile=True) as session:
        session.run(None, tiny.feeds)
        found = session.applied()
    assert {found[i].primitive for i in convs} == {"openvino/auto/fp32"}


def test_a_graph_has_either_bf16_or_fp16(tiny):
    package = tiny.builder.build(tiny.uniform(FP32))
    layers = package.manifest["segments"][0]["layers"]
    layers[0]["primitive"], layers[1]["primitive"] = "openvino/auto/bf16", "openvino/auto/fp16"
    with pytest.raises(EngineError, match="bf16 and layers in fp16"):
        Session(package.manifest, artifacts=package.folder)


def test_integers_need_a_calibration(tiny, tmp_path):
    builder = Builder(tiny.graph, tiny.engines, tmp_path)
    with pytest.raises(BuildError, match="calibration") as caught:
        builder.build(tiny.uniform(INT8))
    assert "--calibration" in caught.value.hint


def test_a_plan_in_fp32_is_compiled_as_without_other_precisions(tiny, monkeypatch):
    monkeypatch.setattr(loader, "with_hints", None)
    monkeypatch.setattr(loader, "make_durable", None)
    choice = tiny.uniform(FP32)
    assert tiny.run(choice)[0] == [str(p) for p in choice]
