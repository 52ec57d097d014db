"""onnxruntime's board half: which kernels ran, and where their time goes."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from qsdnn_runtime import EngineError, Session
from qsdnn_runtime.engines.onnxruntime import LOADER
from qsdnn_runtime.engines.onnxruntime_profile import (
    applied,
    assign,
    layer_times,
    read_kernels,
)
from tests.unit.runtime.onnx_package import Part, model, write_package

GENERATOR = np.random.default_rng(0)


def _weights(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32) / 10


def _network():
    """0 conv+relu, 1 conv+add+relu, 2 pool, 3 sigmoid*x, which onnxruntime fuses, 4 and 5 conv."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0"], ["c0"], "0:0", pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], ["r0"], "0:1"),
        node("Conv", ["r0", "w1"], ["c1"], "1:0"),
        node("Add", ["c1", "r0"], ["a1"], "1:1"),
        node("Relu", ["a1"], ["r1"], "1:2"),
        node("MaxPool", ["r1"], ["p"], "2:0", kernel_shape=[2, 2], strides=[2, 2]),
        node("Sigmoid", ["p"], ["s"], "3:0"),
        node("Mul", ["p", "s"], ["m"], "3:1"),
        node("Conv", ["m", "w4"], ["c4"], "4:0"),
        node("Conv", ["c4", "w5"], ["y"], "5:0"),
    ]
    return model(
        nodes,
        [("x", "float32", (1, 16, 16, 16))],
        [("y", "float32", (1, 5, 8, 8)), ("m", "float32", (1, 32, 8, 8))],
        {
            "w0": _weights(32, 16, 3, 3),
            "w1": _weights(32, 32, 1, 1),
            "w4": _weights(27, 32, 1, 1),
            "w5": _weights(5, 27, 1, 1),
        },
    )


def test_the_probe_tries_whether_convolutions_run_blocked():
    info = LOADER.probe()
    assert info is not None
    assert info.devices == ("CPU",)
    assert "FP32" in info.capabilities


@pytest.mark.parametrize("family", ["onnxruntime/nchwc", "onnxruntime/gemm"])
def test_each_layer_says_what_it_ran(tmp_path, family):
    folder = write_package(tmp_path, Part(family, _network()))
    blocked = family == "onnxruntime/nchwc" and "NCHWC" in LOADER.probe().capabilities
    with Session(folder, profile=True) as session:
        session.run(None, {"x": _weights(1, 16, 16, 16)})
        found = session.applied()
    conv = "onnxruntime/nchwc/fp32" if blocked else "onnxruntime/gemm/fp32"
    assert [found[i].primitive for i in (0, 1, 4)] == [conv] * 3
    assert found[5].primitive == "onnxruntime/gemm/fp32"  # 27 channels are no whole blocks
    assert found[2].primitive == found[3].primitive == f"{family}/fp32"
    assert found[0].kernel == ("Conv(nchwc)" if blocked else "FusedConv")
    assert found[3].kernel == "QuickGelu"


@pytest.mark.parametrize("family", ["onnxruntime/nchwc", "onnxruntime/gemm"])
def test_times_grow_from_question_to_question(tmp_path, family):
    folder = write_package(tmp_path, Part(family, _network()))
    with Session(folder, profile=True) as session:
        session.bind({"x": _weights(1, 16, 16, 16)})
        assert session.layer_times() == dict.fromkeys(range(6), 0.0)
        session.run_bound()
        first = session.layer_times()
        assert session.layer_times() == first
        want = session.bind().outputs["y"].copy()
        session.run_bound()
        session.run_bound()
        second = session.layer_times()
        np.testing.assert_array_equal(session.bind().outputs["y"], want)
    assert all(0 < first[i] < second[i] for i in range(6))


def test_profiles_are_deleted_and_need_asking_for(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = write_package(tmp_path / "p", Part("onnxruntime/gemm", _network()))
    for ask in (False, True):
        with Session(folder, profile=True) as session:
            session.run(None, {"x": _weights(1, 16, 16, 16)})
            if ask:
                session.layer_times()
    session = Session(folder, profile=True)
    del session
    assert [item.name for item in tmp_path.iterdir()] == ["p"]
    with Session(folder) as session, pytest.raises(EngineError, match="profile=True"):
        session.layer_times()


def _event(name, ts, dur, op, reads=(), writes=()):
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "ts": ts,
        "dur": dur,
        "args": {
            "op_name": op,
            "node_index": name,
            "input_type_shape": [{"float": list(shape)} for shape in reads],
            "output_type_shape": [{"float": list(shape)} for shape in writes],
        },
    }


def test_kernels_find_their_layers():
    events = [
        {"cat": "Session", "name": "model_run", "ts": 0, "dur": 999, "args": {}},
        _event("ReorderInput", 0, 1, "ReorderInput", [(1, 8)], [(1, 8)]),
        _event("a_nchwc", 10, 20, "Conv", [(1, 8)], [(1, 4)]),
        _event("1:0", 40, 30, "If", [(1, 4)], [(1, 3)]),
        _event("inner", 45, 10, "Add"),  # in a branch of the If: part of its time
        _event("ReorderOutput", 80, 2, "ReorderOutput", [(1, 4)], [(1, 4)]),
        _event("3:1/QuickGeluFusion/", 90, 5, "QuickGelu", [(1, 3)], [(1, 3)]),
        _event("inlined", 100, 7, "MatMul", [(1, 3)], [(1, 6)]),
        _event("6:0", 110, 4, "Softmax"),
    ]
    later = [{**event, "ts": event["ts"] + 1000} for event in events]
    nodes = {"0:0": 0, "1:0": 1, "2:0": 2, "3:0": 3, "3:1": 3, "5:0": 5, "6:0": 6}
    for skip, runs in ((0, 2), (1, 1)):
        kernels = read_kernels([*reversed(later), *events], skip)
        assign(kernels, nodes, {"a": 0})
        # half a microsecond more for each, since the profile cuts to whole ones
        want_us = {0: 24.5, 1: 30.5, 3: 5.5, 5: 7.5, 6: 4.5}
        want_ms = {layer: runs * time_us / 1e3 for layer, time_us in want_us.items()}
        assert layer_times(kernels) == pytest.approx(want_ms)
    found = applied(kernels, {i: "onnxruntime/nchwc/fp32" for i in (0, 1, 2)})
    assert [found[i].kernel for i in (0, 1, 2)] == ["Conv(nchwc)", "If", "fused"]


def test_a_refused_file_leaves_no_folder(tmp_path, monkeypatch):
    folder = write_package(tmp_path / "p", Part("onnxruntime/gemm", _network()))
    (file,) = (folder / "artifacts").iterdir()
    file.write_bytes(b"x" * file.stat().st_size)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(EngineError):
        Session(folder, profile=True)
    assert [item.name for item in Path(tmp_path).iterdir()] == ["p"]
