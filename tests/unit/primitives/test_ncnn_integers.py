"""ncnn: int8 and fp32 layers in one network, read back, and what they compute."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qsdnn.engine import EngineInfo, load_engines
from qsdnn.errors import BuildError
from qsdnn.examples.catalog import EXAMPLES
from qsdnn.examples.export import to_model
from qsdnn.model.calibration import Calibration, load_calibrator
from qsdnn.model.load import load_graph
from qsdnn.plan.build import Builder
from qsdnn.primitive import Precision
from qsdnn_runtime import Session
from qsdnn_runtime.engines.ncnn import LOADER, net, profile

FOUND = LOADER.probe()
INFO = EngineInfo(name="ncnn", version="", capabilities=FOUND.capabilities if FOUND else ())
LEAST_DB = 20

pytestmark = pytest.mark.skipif("INT8" not in INFO.capabilities, reason="this ncnn has no integers")


def _sqnr_db(got, want):
    return 10 * np.log10(np.sum(want**2) / np.sum((got - want) ** 2))


class Case:
    """A network, calibrated on what it is then fed."""

    def __init__(self, model, folder):
        onnx.save(model, folder / "model.onnx")
        self.graph = load_graph(folder / "model.onnx", workdir=folder)
        self.engines = load_engines(["ncnn"])
        self.rows = [self.engines["ncnn"].primitives(layer, INFO) for layer in self.graph.layers]
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

    def integers(self):
        return [row[-1] for row in self.rows]

    def run(self, choice):
        package = self.builder.build(choice)
        assert len(package.manifest["segments"]) == 1
        with Session(package.manifest, artifacts=package.folder, profile=True) as session:
            gots = session.run(None, self.feeds)
            taken = [one.primitive for _, one in sorted(session.applied().items())]
        return taken, gots


def _conv(weight, bias, **attributes):
    """A convolution and a ReLU."""
    channels = weight.shape[1] * attributes.get("group", 1)
    info = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], **attributes),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    weights = [numpy_helper.from_array(a, n) for n, a in (("w", weight), ("b", bias))]
    graph = helper.make_graph(
        nodes,
        "conv",
        [info("x", TensorProto.FLOAT, (1, channels, 9, 11))],
        [info("y", TensorProto.FLOAT, None)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


@pytest.fixture(scope="module", params=["tiny-cnn", "mobilenet-v2"])
def case(request, tmp_path_factory):
    model = to_model(EXAMPLES[request.param].network(), seed=0)
    return Case(model, tmp_path_factory.mktemp(request.param))


def test_convolutions_and_products_are_offered_integers(case):
    for layer, row in zip(case.graph.layers, case.rows, strict=True):
        names = [str(p) for p in row if p.precision is Precision.INT8]
        assert names == (["ncnn/auto/int8"] if layer.macs > 0 else [])
        assert {p.domain for p in row} == {"ncnn"}  # tensors between layers are fp32


def test_a_network_runs_in_integers(case):
    choice = case.integers()
    taken, gots = case.run(choice)
    assert taken == [str(p) for p in choice]
    assert any(name.endswith("/int8") for name in taken)
    for got, want in zip(gots, case.wants, strict=True):
        assert LEAST_DB < _sqnr_db(got, want) < 60


@pytest.mark.parametrize("seed", range(3))
def test_integers_and_fp32_algorithms_mix_in_one_network(case, seed):
    draw = np.random.default_rng(seed)
    choice = [row[draw.integers(len(row))] for row in case.rows]
    taken, gots = case.run(choice)
    assert taken == [str(p) for p in choice]
    assert len({p.precision for p in choice}) == 2
    for got, want in zip(gots, case.wants, strict=True):
        assert _sqnr_db(got, want) > LEAST_DB


def test_a_layer_that_asked_for_int8_and_did_not_get_it_is_told(case):
    package = case.builder.build([row[0] for row in case.rows])
    for entry in package.manifest["segments"][0]["layers"]:
        entry["primitive"] = "ncnn/auto/int8"
    with Session(package.manifest, artifacts=package.folder, profile=True) as session:
        session.run(None, case.feeds)
        found = session.applied()
    assert {one.primitive for one in found.values()} == {"ncnn/auto/fp32"}


def test_integers_that_the_library_does_not_do_are_told(case, monkeypatch):
    """The read-back looks at what comes out, not at what was asked for."""
    options = net.make_options

    def plain(threads, winograd=True, sgemm=True):
        made = options(threads, winograd, sgemm)
        made.use_int8_inference = False
        return made

    monkeypatch.setattr(profile, "make_options", plain)
    assert not profile.has_integers()
    assert "INT8" not in LOADER.probe().capabilities


def test_integers_need_a_calibration_with_the_ranges_of_their_inputs(case, tmp_path):
    builder = Builder(case.graph, case.engines, tmp_path)
    with pytest.raises(BuildError, match="calibration") as caught:
        builder.build(case.integers())
    assert "--calibration" in caught.value.hint
    poor = Calibration(method="minmax", ranges={})
    with pytest.raises(BuildError, match="has no range of tensor"):
        Builder(case.graph, case.engines, tmp_path, calibration=poor).build(case.integers())


@pytest.mark.parametrize(
    ("weight", "attributes"),
    [
        ((24, 16, 3, 3), {}),
        ((24, 16, 1, 1), {"strides": [2, 2]}),
        ((7, 3, 5, 3), {"strides": [2, 1]}),
        ((16, 1, 3, 3), {"group": 16}),
        ((8, 2, 3, 3), {"group": 4}),
    ],
    ids=str,
)
def test_a_convolution_computes_with_rounded_numbers(tmp_path, weight, attributes):
    """As fp32 does on the rounded weights and inputs: what integers add is exact."""
    rng = np.random.default_rng(1)
    weights = rng.standard_normal(weight).astype(np.float32)
    bias = rng.standard_normal(weight[0]).astype(np.float32)
    case = Case(_conv(weights, bias, **attributes), tmp_path)
    taken, gots = case.run(case.integers())
    assert taken == ["ncnn/auto/int8"]
    group = attributes.get("group", 1)
    flat = weights.reshape(group if group > 1 else weight[0], -1)
    rounded = _rounded(flat, np.abs(flat).max(axis=1, keepdims=True)).reshape(weight)
    (x,) = case.feeds.values()
    exact = Case(_conv(rounded, bias, **attributes), tmp_path)
    exact.feeds = {"x": _rounded(x, np.abs(x).max())}
    _, (want,) = exact.run([row[0] for row in exact.rows])
    assert _sqnr_db(gots[0], want) > 60
    assert _sqnr_db(gots[0], case.wants[0]) > 30


def _rounded(values, largest):
    return (np.rint(values * (127 / largest)) * (largest / 127)).astype(np.float32)
