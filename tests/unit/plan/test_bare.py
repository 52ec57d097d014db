"""Every engine runs a whole network bare: alone, as it comes, with onnxruntime's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest

from qsdnn import examples
from qsdnn.board import BoardInfo, Package
from qsdnn.engine import EngineInfo, load_engines
from qsdnn.errors import InputError, UnsupportedLayerError
from qsdnn.model import load_graph
from qsdnn.plan.build import Builder
from qsdnn.plan.subject import open_subject
from qsdnn_runtime import Session
from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.server.bare import Bare

ENGINES = ("onnxruntime", "openvino", "ncnn", "blas")
BATCH = "m (float[2,3,8,8] x) => (float[2,3,8,8] y) { r = Relu(x) y = Softmax<axis=1>(r) }"


REFUSAL = r"^ncnn cannot run layer '\w+' \(Relu\): .*batch"


def package_of(model: onnx.ModelProto | str, engine: str, folder: Path) -> Package:
    if isinstance(model, str):
        model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> {model}')
    onnx.save(model, folder / "model.onnx")
    graph = load_graph(folder / "model.onnx", workdir=folder)
    return Builder(graph, load_engines([engine]), folder).bare(engine)


def outputs_of(package: Package, feeds: Mapping[str, Any], threads: int = 1) -> dict[str, Any]:
    """What a second run gives."""
    bare = Bare(package.manifest, threads=threads, artifacts=package.folder)
    try:
        binding = bare.bind(feeds)
        bare.run_bound()
        total_ns, segments_ns = bare.run_timed()
        assert [total_ns] == segments_ns
        return {name: np.array(binding.outputs[name]) for name in package.manifest["outputs"]}
    finally:
        bare.close()


def expected(folder: Path, feeds: Mapping[str, Any]) -> dict[str, Any]:
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=providers)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_alone_gives_onnxruntime_s_outputs(
    engine: str, threads: int, tmp_path: Path
) -> None:
    model = examples.build("tiny-multi")
    package = package_of(model, engine, tmp_path)
    generator = np.random.default_rng(0)
    feeds = {
        value.name: generator.standard_normal(
            [size.dim_value for size in value.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for value in model.graph.input
    }
    assert package.manifest["bare"] and len(package.manifest["segments"]) == 1
    found, wanted = outputs_of(package, feeds, threads), expected(tmp_path, feeds)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4 * np.abs(value).max())


@pytest.mark.parametrize("engine", ["ncnn", "blas"])
def test_an_engine_that_reads_no_onnx_runs_each_layer_by_its_default(
    engine: str, tmp_path: Path
) -> None:
    package = package_of(examples.build("kws9"), engine, tmp_path)
    (segment,) = package.manifest["segments"]
    graph = load_graph(tmp_path / "model.onnx", workdir=tmp_path)
    (half,) = load_engines([engine]).values()
    info = EngineInfo(name=engine, version="")
    offers = [half.primitives(layer, info) for layer in graph.layers]
    assert [row["primitive"] for row in segment["layers"]] == [str(offer[0]) for offer in offers]
    with Session(package.manifest, artifacts=package.folder) as session:  # as data is evaluated
        assert session.get_outputs()


ODD = {
    "scalar": ("m (float x) => (float y) { y = Neg(x) }", {"x": np.array(3, np.float32)}),
    "data": (
        "m (float[3,3] x) => (int64[2,n] y) { y = NonZero(x) }",
        {"x": np.eye(3, dtype=np.float32)},
    ),
    "empty": ("m (float[0,3] x) => (float[0,3] y) { y = Neg(x) }", {"x": np.zeros((0, 3), "f")}),
    "unused": (
        "m (float[2] a, float[3] x) => (float[3] y) { y = Neg(x) }",
        {"a": np.ones(2, np.float32), "x": np.ones(3, np.float32)},
    ),
}


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ODD)
def test_odd_values_pass_through_the_engines_that_read_onnx(
    name: str, engine: str, tmp_path: Path
) -> None:
    text, feeds = ODD[name]
    found = outputs_of(package_of(text, engine, tmp_path), feeds)
    wanted = expected(tmp_path, feeds)["y"]
    assert found["y"].shape == wanted.shape and found["y"].dtype == wanted.dtype
    np.testing.assert_array_equal(found["y"], wanted)


def test_sequences_pass_through_onnxruntime(tmp_path: Path) -> None:
    text = "m (float[4,2] x) => (seq(float[1,2]) y) { y = SplitToSequence<axis=0>(x) }"
    feeds = {"x": np.arange(8, dtype=np.float32).reshape(4, 2)}
    found = outputs_of(package_of(text, "onnxruntime", tmp_path), feeds)
    np.testing.assert_array_equal(found["y"], np.array(expected(tmp_path, feeds)["y"]))


def test_what_an_engine_refuses_is_its_error(tmp_path: Path) -> None:
    text = "m (float[3,3] x) => (seq(float[1,3]) y) { y = SplitToSequence(x) }"
    package = package_of(text, "openvino", tmp_path)
    bare = Bare(package.manifest, threads=1, artifacts=package.folder)
    with pytest.raises(EngineError):
        bare.bind({"x": np.eye(3, dtype=np.float32)})


def test_a_network_the_engine_cannot_take_is_refused_before_anything_is_measured(
    tmp_path: Path,
) -> None:
    with pytest.raises(UnsupportedLayerError, match=REFUSAL) as caught:
        package_of(BATCH, "ncnn", tmp_path)
    assert caught.value.exit_code == 2
    engines = {"ncnn": EngineInfo(name="ncnn", version="")}
    info = BoardInfo(name="lab", fingerprint="", engines=engines, facts={})
    with pytest.raises(UnsupportedLayerError):
        open_subject(tmp_path / "model.onnx@ncnn", None, info, tmp_path)


def test_an_algorithm_is_that_of_all_layers_that_can_take_it(tmp_path: Path) -> None:
    onnx.save(examples.build("tiny-cnn"), tmp_path / "model.onnx")
    engines = {"blas": EngineInfo(name="blas", version="")}
    info = BoardInfo(name="lab", fingerprint="", engines=engines, facts={})
    subject = open_subject(tmp_path / "model.onnx@blas/direct", None, info, tmp_path)
    (segment,) = subject.package.manifest["segments"]
    algorithms = [row["primitive"].split("/")[1] for row in segment["layers"]]
    assert "direct" in algorithms and subject.package.manifest["bare"]
    with pytest.raises(InputError, match="unknown algorithm of blas 'dircet'") as caught:
        open_subject(tmp_path / "model.onnx@blas/dircet", None, info, tmp_path)
    assert "did you mean 'direct'" in caught.value.hint


def test_who_reads_onnx_is_told_no_algorithm(tmp_path: Path) -> None:
    onnx.save(examples.build("tiny-cnn"), tmp_path / "model.onnx")
    graph = load_graph(tmp_path / "model.onnx", workdir=tmp_path)
    with pytest.raises(InputError, match="chooses its algorithms itself"):
        Builder(graph, load_engines(["onnxruntime"]), tmp_path).bare("onnxruntime", "gemm")


def test_an_engine_the_builder_does_not_have_is_named(tmp_path: Path) -> None:
    onnx.save(examples.build("tiny-cnn"), tmp_path / "model.onnx")
    graph = load_graph(tmp_path / "model.onnx", workdir=tmp_path)
    with pytest.raises(InputError, match="unknown engine 'ncnm'") as caught:
        Builder(graph, load_engines(["ncnn", "blas"]), tmp_path).bare("ncnm")
    assert "did you mean 'ncnn'" in caught.value.hint
