"""OpenVINO's board half: precision and kernels read back, and its telemetry kept out."""

import re
import subprocess
import sys
import weakref

import numpy as np
import pytest
from onnx import helper

from qsdnn_runtime import EngineError, Session
from qsdnn_runtime.engines.openvino import LOADER, loader
from tests.unit.runtime.onnx_package import Part, model, write_package

GENERATOR = np.random.default_rng(0)
SHAPE = (1, 16, 8, 8)


def _network():
    """0 conv+relu (also an output), 1 conv, 2 softmax, 3 split in two outputs."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0"], ["c0"], "0:0", pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], ["r0"], "0:1"),
        node("Conv", ["r0", "w1"], ["c1"], "1:0"),
        node("Softmax", ["c1"], ["s"], "2:0", axis=1),
        node("Split", ["s"], ["y", "z"], "3:0", axis=1),
    ]
    half = (1, 8, 8, 8)
    return model(
        nodes,
        [("x", "float32", SHAPE)],
        [("y", "float32", half), ("r0", "float32", SHAPE), ("z", "float32", half)],
        {
            "w0": GENERATOR.standard_normal((16, 16, 3, 3)).astype(np.float32) / 12,
            "w1": GENERATOR.standard_normal((16, 16, 1, 1)).astype(np.float32) / 4,
        },
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_each_layer_says_what_it_ran(tmp_path, precision):
    if precision == "bf16" and "BF16" not in LOADER.probe().capabilities:
        pytest.skip("it is not offered on this processor, which computes nothing in bf16")
    folder = write_package(tmp_path, Part(f"openvino/{precision}", _network()))
    with Session(folder, profile=True) as session:
        session.run(None, {"x": GENERATOR.standard_normal(SHAPE).astype(np.float32)})
        found = session.applied()
    assert sorted(found) == [0, 1, 2, 3]
    assert {item.primitive for item in found.values()} == {f"openvino/auto/{precision}"}
    assert found[0].kernel.startswith("Convolution(")
    assert found[1].kernel.startswith("Convolution(")
    assert found[2].kernel.startswith("Softmax(")


def test_a_network_that_is_compiled_again_is_not_in_memory_twice(tmp_path, monkeypatch):
    living, compiled = [], loader._compile

    def compile_one(*arguments):
        found = compiled(*arguments)
        living.append(weakref.ref(found))
        assert [one for one in living if one() is not None] == living[-1:]
        return found

    monkeypatch.setattr(loader, "_compile", compile_one)
    monkeypatch.setattr(loader, "_strays", lambda *_: {0})
    with Session(write_package(tmp_path, Part("openvino/fp32", _network()))):
        assert len(living) == 2


def test_times_grow_from_question_to_question(tmp_path):
    folder = write_package(tmp_path, Part("openvino/fp32", _network()))
    with Session(folder, profile=True) as session:
        session.bind({"x": GENERATOR.standard_normal(SHAPE).astype(np.float32)})
        assert session.layer_times() == dict.fromkeys(range(4), 0.0)
        session.run_bound()
        first = session.layer_times()
        for _ in range(3):
            session.run_bound()
        second = session.layer_times()
    assert all(first[i] <= second[i] for i in range(4))
    assert all(0 < first[i] < second[i] for i in (0, 1, 2))
    folder = write_package(tmp_path, Part("openvino/fp32", _network()))
    with Session(folder) as session, pytest.raises(EngineError, match="profile=True"):
        session.applied()


def test_an_output_that_is_an_input_is_refused(tmp_path):
    """It would never be written: OpenVINO has one tensor for both."""
    nodes = [helper.make_node("Dropout", ["x"], ["y"], "0:0")]
    made = model(nodes, [("x", "float32", (2,))], [("y", "float32", (2,))])
    with pytest.raises(EngineError, match="an output is an input"):
        Session(write_package(tmp_path, Part("openvino/fp32", made)))


def test_a_family_it_does_not_know_is_refused(tmp_path):
    folder = write_package(tmp_path, Part("openvino/fp32", _network()))
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(
        text.replace('"family": "openvino"', '"family": "openvino/1"')
    )
    with pytest.raises(EngineError, match="'openvino/1' is no family"):
        Session(folder)


def test_it_sends_nothing_to_its_maker(tmp_path):
    """Importing openvino reports that, under an identity kept at home; here home stays empty."""
    code = (
        "import sys, importlib.util\n"
        "assert importlib.util.find_spec('openvino_telemetry')\n"
        "from qsdnn_runtime.engines.openvino import LOADER\n"
        "assert LOADER.probe() is not None\n"
        "assert 'openvino' in sys.modules\n"
        "assert not [m for m in sys.modules if m.startswith('openvino_telemetry')]\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
    )
    assert not list(tmp_path.iterdir())


def test_the_probe_tells_version_and_capabilities():
    info = LOADER.probe()
    assert info is not None
    assert "CPU" in info.devices
    assert "FP32" in info.capabilities
    assert info.version[:2] == "20"


def test_the_probe_tells_algorithms_by_kind_of_layer():
    info = LOADER.probe()
    words = [word for word in info.capabilities if ":" in word]
    assert len(words) == len(set(words))
    for word in words:
        kind, algorithm, precision = re.fullmatch(
            r"([a-zA-Z]+):([a-z0-9_]+)/([a-z0-9]+)", word
        ).groups()
        if kind not in ("conv", "pointwise", "depthwise", "grouped"):
            assert algorithm == "auto"
        assert algorithm != "unknown" and "ref" not in algorithm.split("_")
        assert (algorithm, precision) != ("auto", "fp32")
        assert precision == "int8" or precision.upper() in info.capabilities


def test_a_primitive_of_another_engine_is_refused(tmp_path):
    folder = write_package(tmp_path, Part("openvino/fp32", _network()))
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace("openvino/auto/fp32", "ncnn/auto/fp32"))
    with pytest.raises(EngineError, match="'ncnn/auto/fp32' is no primitive of this engine"):
        Session(folder)
