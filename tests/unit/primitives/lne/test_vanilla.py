"""The plain loops: never offered, and exact when they are asked for."""

import onnx
import onnxruntime
import pytest

from qsdnn.engine import EngineInfo, accepted, load_engines
from qsdnn.examples import build
from qsdnn.model import load_graph
from qsdnn.model.feeds import random_feeds
from qsdnn.plan.build import Builder
from qsdnn.space import space_of
from qsdnn_runtime import Session
from qsdnn_runtime.engines.lne import LOADER
from qsdnn_runtime.program.values import max_error

PROBED = LOADER.probe()
INFO = EngineInfo(
    name="lne", version="1", capabilities=PROBED.capabilities if PROBED else ()
)  # fmt: skip


@pytest.fixture
def network(tmp_path):
    """A small network, the engine, and the folder."""
    engine = load_engines(["lne"])["lne"]
    if engine.refusal(INFO):
        pytest.skip(f"NOT TESTED: plain loops. {engine.refusal(INFO)}")
    onnx.save(build("kws9"), tmp_path / "model.onnx")
    return load_graph(tmp_path / "model.onnx", workdir=tmp_path), engine, tmp_path


def test_no_search_sees_them(network):
    graph, engine, _ = network
    engines, infos = {"lne": engine}, {"lne": INFO}
    offered = {p.algorithm for p in space_of(graph, engines, infos).primitives}
    space = space_of(graph, engines, infos, unoffered=True)
    assert {p.algorithm for p in space.primitives} - offered == {"vanilla"}
    kinds = {la.kind for la in graph.layers if engine.unoffered(la, INFO)}
    assert {"conv", "pool", "gemm"} >= kinds > {"conv"}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_whole_network_equals_onnxruntime_s(network, threads):
    graph, engine, folder = network
    builder = Builder(graph, {"lne": engine}, folder, threads=threads, infos={"lne": INFO})
    choice = [accepted(engine, layer, INFO)[-1] for layer in graph.layers]
    feeds = random_feeds({name: graph.tensors[name] for name in graph.inputs})
    alone = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    want = dict(zip(graph.outputs, alone.run(list(graph.outputs), feeds), strict=True))
    with Session(builder.build(choice).manifest, artifacts=folder) as session:
        got = dict(zip(graph.outputs, session.run(None, feeds), strict=True))
    assert max_error(got, want) < 1e-5


def test_they_say_that_they_ran(network):
    graph, engine, folder = network
    builder = Builder(graph, {"lne": engine}, folder, infos={"lne": INFO})
    package = builder.bare("lne", "vanilla")
    with Session(package.manifest, artifacts=folder, profile=True) as session:
        told = session.applied()
    asked = {la.index for la in graph.layers if engine.unoffered(la, INFO)}
    assert {i for i, one in told.items() if "vanilla" in one.kernel} == asked
    assert all("tiles" not in one.kernel for one in told.values())
