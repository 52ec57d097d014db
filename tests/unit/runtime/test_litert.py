"""TensorFlow Lite's board half: what ran is read back, buffers, and artifacts that are broken."""

import gc
import importlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from qsdnn.examples import build
from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.program.values import max_error
from tests.unit.runtime.litert_network import LOADER, Network
from tests.unit.runtime.onnx_package import model

from qsdnn_runtime.engines.litert import library, profile  # isort: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Network(build("tiny-cnn"), tmp_path_factory.mktemp("tiny"))


def test_a_probe_tells_the_version():
    info = LOADER.probe()
    assert info.name == "litert" and info.version[0].isdigit()
    assert info.capabilities == ("FP32", "INT8")


def test_a_library_of_another_distribution_has_a_version_too(monkeypatch):
    def version(name):
        raise library.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(library.metadata, "version", version)
    assert LOADER.probe().version


def test_without_the_library_there_is_no_engine(monkeypatch, tiny):
    spec = tiny.spec()
    for package, _ in library.PACKAGES:
        monkeypatch.setitem(sys.modules, package + ".interpreter", None)
    assert LOADER.probe() is None
    with pytest.raises(EngineError, match="ai-edge-litert is not installed here"):
        LOADER.load(spec, 1)


def test_the_older_package_will_do(monkeypatch, tiny):
    interpreter = importlib.import_module("ai_edge_litert.interpreter")
    older = types.ModuleType("tflite_runtime.interpreter")
    older.Interpreter, older.OpResolverType = interpreter.Interpreter, interpreter.OpResolverType
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", types.ModuleType("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", older)
    monkeypatch.setattr(library.metadata, "version", lambda name: "2.14.0")
    assert LOADER.probe().version == "tflite_runtime-2.14.0"
    with tiny.session(tiny.choice()) as session:
        assert max_error(_named(session, tiny), _wanted(tiny)) < 1e-5


@pytest.mark.parametrize("algorithm", ["xnnpack", "builtin", "reference"])
@pytest.mark.parametrize("threads", [1, 2])
def test_each_layer_tells_its_kernels_and_the_profile_gives_the_same_outputs(
    algorithm, threads, tiny
):
    with tiny.session(tiny.choice(algorithm), profile=True) as session:
        assert max_error(_named(session, tiny), _wanted(tiny)) < 1e-5
        found, times = session.applied(), session.layer_times()
    assert {told.primitive for told in found.values()} == {f"litert/{algorithm}/fp32"}
    word = {"builtin": "builtin:CONV_2D", "reference": "reference:CONV_2D"}
    assert word.get(algorithm, "xnnpack") in {told.kernel for told in found.values()}
    assert set(times) == {layer.index for layer in tiny.graph.layers}
    assert max(times.values()) > 0


def test_what_xnnpack_leaves_out_is_told(tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("LRN", ["a"], ["b"], size=3),
        helper.make_node("Sigmoid", ["b"], ["y"]),
    ]
    shape = (1, 4, 6, 6)
    network = Network(model(nodes, [("x", "float32", shape)], [("y", "float32", shape)]), tmp_path)
    with network.session(network.choice(), profile=True) as session:
        assert max_error(_named(session, network), _wanted(network)) < 1e-5
        kernels = ", ".join(told.kernel for told in session.applied().values())
    assert "builtin:LOCAL_RESPONSE_NORMALIZATION" in kernels and "xnnpack" in kernels


def test_a_segment_that_no_delegate_took_ran_on_the_built_in_kernels(tmp_path):
    node = helper.make_node("LRN", ["x"], ["y"], size=3)
    shape = (1, 4, 1, 1)  # its transposition is a reshape
    network = Network(model([node], [("x", "float32", shape)], [("y", "float32", shape)]), tmp_path)
    spec = network.spec()
    details = [{"op_name": "LRN", "inputs": [0], "outputs": [1]}]
    interpreter = types.SimpleNamespace(
        _get_ops_details=lambda: details,
        get_output_details=lambda: [{"index": 1}],
        get_tensor_details=lambda: [],
    )
    spec.options["operators"][:] = [0]
    assert profile.applied(interpreter, spec)[0].primitive == "litert/builtin/fp32"


def test_int8_is_read_back(tiny):
    choice = tiny.choice("builtin", "int8")
    assert {p.precision for p in choice} == {"int8", "fp32"}
    with tiny.session(choice, tiny.calibrated(), profile=True) as session:
        assert max_error(_named(session, tiny), _wanted(tiny)) < 0.1
        found = session.applied()
    for index, asked in enumerate(choice):
        assert found[index].primitive == str(asked)
    assert "builtin:CONV_2D(int8)" in ", ".join(told.kernel for told in found.values())


def test_a_call_leaves_the_buffers_bound_and_runs_agree(tiny):
    executable = LOADER.load(tiny.spec(), 1)
    (name,) = tiny.feeds
    shapes = {n: tiny.graph.tensors[n].shape for n in tiny.graph.outputs}
    buffers = {n: np.zeros(shape, np.float32) for n, shape in shapes.items()}
    executable.bind(tiny.feeds, buffers)
    executable.run()
    first = {n: buffer.copy() for n, buffer in buffers.items()}
    other = executable.call({name: tiny.feeds[name] * 2})
    assert all((buffers[n] == first[n]).all() for n in buffers)
    assert any((other[n] != first[n]).any() for n in buffers)
    for _ in range(50):
        executable.run()
    assert all((buffers[n] == first[n]).all() for n in buffers)
    executable.close()


def test_buffers_that_do_not_fit_are_refused(tiny):
    executable = LOADER.load(tiny.spec(), 1)
    with pytest.raises(EngineError, match="run before bind"):
        executable.run()
    ((name, value),) = tiny.feeds.items()
    outputs = {n: np.zeros(tiny.graph.tensors[n].shape, "f4") for n in tiny.graph.outputs}
    for wrong in ({}, {name: value[0]}, {name: value.astype("f8")}, {name: value.transpose()}):
        with pytest.raises(EngineError, match="buffer"):
            executable.bind(wrong, outputs)
    with pytest.raises(EngineError, match="profile=True"):
        executable.layer_times()
    executable.close()


BROKEN = {
    "no weights": lambda options: options.pop("weights"),
    "another size": lambda options: options.update(size_bytes=options["size_bytes"] + 1),
    "a file that is missing": lambda options: options["weights"][0].update(file="none"),
    "beyond the file": lambda options: options["weights"][0].update(offset=1 << 40),
    "over the tables": lambda options: options["weights"][0].update(at=4),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_artifact_is_an_error(broken, tmp_path):
    network = Network(build("kws1"), tmp_path)
    spec = network.spec()
    broken(spec.options)
    with pytest.raises(EngineError, match="cannot be put together"):
        LOADER.load(spec, 1)


@pytest.mark.parametrize("cut", [0, 10, 300])
def test_tables_that_were_changed_are_an_error(cut, tmp_path):
    network = Network(build("tiny-transformer"), tmp_path)
    spec = network.spec()
    content = bytearray(spec.artifact.read_bytes())
    content[cut : cut + 16] = b"\xff" * 16
    spec.artifact.write_bytes(content)
    with pytest.raises(EngineError, match="TensorFlow Lite refuses the model"):
        LOADER.load(spec, 1)


def test_families_and_profiles_that_are_not_there_are_errors(tiny):
    spec = tiny.spec()
    for family in ("litert", "litert/gpu", "ncnn"):
        with pytest.raises(EngineError, match="no family of this engine"):
            LOADER.load(type(spec)(**{**vars(spec), "family": family}), 1)
    with pytest.raises(EngineError, match="no profile"):
        LOADER.load(tiny.spec(profile={}), 1, profile=True)


def test_a_model_without_memory_files(monkeypatch, tiny):
    monkeypatch.delattr("os.memfd_create")
    with tiny.session(tiny.choice()) as session:
        assert max_error(_named(session, tiny), _wanted(tiny)) < 1e-5


def test_close_gives_the_memory_back(tiny):
    def cycle(times):
        for _ in range(times):
            executable = LOADER.load(tiny.spec(), 1, profile=True)
            executable.call(tiny.feeds)
            executable.close()
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = cycle(30)
    assert cycle(60) - before < 4e6


def _named(session, network):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, network.feeds), strict=True))


def _wanted(network):
    return dict(zip(network.graph.outputs, network.reference(), strict=True))
