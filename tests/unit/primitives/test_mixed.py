"""Both halves of the engines together: any mixture of primitives computes the same network."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsdnn.engine import EngineInfo, load_engines
from qsdnn.examples.catalog import EXAMPLES
from qsdnn.examples.export import to_model
from qsdnn.model.load import load_graph
from qsdnn.plan.build import Builder
from qsdnn.primitive import Precision
from qsdnn_runtime import Session
from qsdnn_runtime.engine import find_loader

NAMES = ("onnxruntime", "openvino")


@pytest.fixture(scope="module", params=["tiny-cnn", "tiny-multi", "tiny-transformer"])
def case(request, tmp_path_factory):
    """A builder, what each layer may take, feeds, and what onnxruntime makes of them."""
    folder = tmp_path_factory.mktemp(request.param)
    onnx.save(to_model(EXAMPLES[request.param].network(), seed=0), folder / "model.onnx")
    graph = load_graph(folder / "model.onnx", workdir=folder)
    engines = load_engines(NAMES)
    builder = Builder(graph, engines, folder)
    told = find_loader("openvino").probe().capabilities
    words = {"openvino": tuple(word for word in told if word.endswith("/fp32"))}
    infos = {n: EngineInfo(name=n, version="", capabilities=words.get(n, ())) for n in NAMES}
    table = [
        [
            p
            for name in NAMES
            for p in engines[name].primitives(layer, infos[name])
            if p.precision is Precision.FP32
        ]
        for layer in graph.layers
    ]
    generator = np.random.default_rng(0)
    feeds = {
        name: generator.standard_normal(graph.tensors[name].shape).astype(np.float32)
        for name in graph.inputs
    }
    reference = builder.reference()
    with Session(reference.manifest, artifacts=folder) as session:
        return builder, table, feeds, session.run(None, feeds)


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_mixture_equals_the_original(case, data):
    builder, table, feeds, wants = case
    choice = [data.draw(st.sampled_from(row)) for row in table]
    package = builder.build(choice)
    with Session(package.manifest, artifacts=package.folder) as session:
        gots = session.run(None, feeds)
    for got, want in zip(gots, wants, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("name", ["onnxruntime/nchwc", "onnxruntime/gemm", "openvino/auto"])
def test_a_uniform_plan_is_one_segment_that_runs_what_was_asked(case, name):
    builder, table, feeds, _ = case
    choice = [next(p for p in row if str(p) == f"{name}/fp32") for row in table]
    package = builder.build(choice)
    assert len(package.manifest["segments"]) == 1
    with Session(package.manifest, artifacts=package.folder, profile=True) as session:
        session.run(None, feeds)
        applied, times = session.applied(), session.layer_times()
    assert sorted(applied) == sorted(times) == list(range(len(table)))
    blocked = "NCHWC" in find_loader("onnxruntime").probe().capabilities
    for index, primitive in enumerate(choice):
        fused = applied[index].kernel == "fused"
        assert (times[index] > 0) != fused
        if blocked or name != "onnxruntime/nchwc":
            assert applied[index].primitive == str(primitive)
