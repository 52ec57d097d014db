"""onnxruntime's board half: which kernels ran, and where their time goes."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from qsdnn_runtime import EngineError, Session
from qsdnn_runtime.engine import SegmentSpec
from qsdnn_runtime.engines.onnxruntime import LOADER, executable, loader
from qsdnn_runtime.engines.onnxruntime.library import (
    CPU,
    device_of,
    missing,
    providers_of,
    records,
    starts,
)
from qsdnn_runtime.engines.onnxruntime.profile import applied, assign, layer_times, read_kernels
from tests.unit.runtime.onnx_package import PRIMITIVES, Part, model, write_package

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


def test_the_probe_tells_which_versions_of_onnx_it_reads(tmp_path):
    words = dict(word.split(":") for word in LOADER.probe().capabilities if ":" in word)
    for ir_version, opset, read in (
        (int(words["ir"]), int(words["opset"]), True),
        (int(words["ir"]) + 1, int(words["opset"]), False),
        (int(words["ir"]), int(words["opset"]) + 1, False),
    ):
        value = helper.make_tensor_value_info
        x, y = value("x", TensorProto.FLOAT, [1]), value("y", TensorProto.FLOAT, [1])
        graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "net", [x], [y])
        stamp = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=stamp, ir_version=ir_version)
        path = tmp_path / "net.onnx"
        path.write_bytes(model.SerializeToString())
        spec = SegmentSpec(path, "onnxruntime", ("x",), ("y",), {}, {})
        if read:
            LOADER.load(spec, 1).close()
        else:
            with pytest.raises(EngineError):
                LOADER.load(spec, 1)


@pytest.mark.parametrize("family", ["onnxruntime", "onnxruntime/gemm"])
def test_each_layer_says_what_it_ran(tmp_path, family):
    folder = write_package(tmp_path, Part(family, _network()))
    blocked = family == "onnxruntime" and "NCHWC" in LOADER.probe().capabilities
    with Session(folder, profile=True) as session:
        session.run(None, {"x": _weights(1, 16, 16, 16)})
        found = session.applied()
    conv = "onnxruntime/nchwc/fp32" if blocked else "onnxruntime/gemm/fp32"
    assert [found[i].primitive for i in (0, 1, 4)] == [conv] * 3
    assert found[5].primitive == "onnxruntime/gemm/fp32"  # 27 channels are no whole blocks
    assert found[2].primitive == found[3].primitive == PRIMITIVES[family]
    assert found[0].kernel == ("Conv(nchwc)" if blocked else "FusedConv")
    assert found[3].kernel == "QuickGelu"


@pytest.mark.parametrize("family", ["onnxruntime", "onnxruntime/gemm"])
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


def _event(name, ts, dur, op, reads=(), writes=(), provider=CPU):
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "ts": ts,
        "dur": dur,
        "args": {
            "op_name": op,
            "provider": provider,
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
        _event("n_bn_nchwc", 120, 3, "Conv"),
    ]
    later = [{**event, "ts": event["ts"] + 1000} for event in events]
    nodes = {"0:0": 0, "1:0": 1, "2:0": 2, "3:0": 3, "3:1": 3, "5:0": 5, "6:0": 6}
    for skip, runs in ((0, 2), (1, 1)):
        kernels = read_kernels([*reversed(later), *events], skip)
        assign(kernels, nodes, {"a": 0, "n": 7})
        # half a microsecond more for each, since the profile cuts to whole ones
        want_us = {0: 24.5, 1: 30.5, 3: 5.5, 5: 7.5, 6: 4.5, 7: 3.5}
        want_ms = {layer: runs * time_us / 1e3 for layer, time_us in want_us.items()}
        assert layer_times(kernels) == pytest.approx(want_ms)
    asked = {0: "nchwc", 1: "nchwc", 2: "nchwc", 7: "gemm"}
    found = applied(kernels, {i: f"onnxruntime/{a}/fp32" for i, a in asked.items()})
    want = ["Conv(nchwc)", "If", "fused", "BatchNormalization(nchwc)"]
    assert [found[i].kernel for i in asked] == want
    assert found[7].primitive == "onnxruntime/gemm/fp32"  # as asked: it is no convolution


def test_a_refused_file_leaves_no_folder(tmp_path, monkeypatch):
    folder = write_package(tmp_path / "p", Part("onnxruntime/gemm", _network()))
    (file,) = (folder / "artifacts").iterdir()
    file.write_bytes(b"x" * file.stat().st_size)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(EngineError):
        Session(folder, profile=True, verify=False)
    assert [item.name for item in Path(tmp_path).iterdir()] == ["p"]


class _Session:
    """Stands for a session whose provider is installed, or is not."""

    def __init__(self, *_, providers, **__):
        self.asked = providers

    def get_providers(self):
        known = [p if isinstance(p, str) else p[0] for p in self.asked]
        return [p for p in known if p != "ACLExecutionProvider"]


def _load(tmp_path, family, threads=3):
    asked = {0: f"{family}/fp32"}
    spec = SegmentSpec(tmp_path, family, ("x",), ("y",), {"nodes": {}, "tensors": {}}, asked)
    return LOADER.load(spec, threads)


def test_other_providers_are_told_and_preferred(tmp_path, monkeypatch):
    names = ["TensorrtExecutionProvider", "XnnpackExecutionProvider", "AzureExecutionProvider", CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(loader, "starts", lambda library, name: name in names[1:])  # not all do
    told = [word for word in LOADER.probe().capabilities if word.startswith("ep:")]
    assert told == ["ep:xnnpack/fp32"]
    monkeypatch.setattr(onnxruntime, "InferenceSession", _Session)
    for family, first in {
        "onnxruntime/tensorrt/fp16": (
            "TensorrtExecutionProvider",
            {"trt_fp16_enable": "1", "trt_cuda_graph_enable": "1"},
        ),
        "onnxruntime/xnnpack/fp32": ("XnnpackExecutionProvider", {"intra_op_num_threads": "3"}),
    }.items():
        assert _load(tmp_path, family)._session.asked == [first, CPU]
    assert _load(tmp_path, "onnxruntime")._session.asked == [CPU]
    with pytest.raises(EngineError, match="ACLExecutionProvider does not work here"):
        _load(tmp_path, "onnxruntime/acl/fp32")


def test_what_another_provider_did_not_take_reads_back_as_the_cpus():
    cuda = "CUDAExecutionProvider"
    events = [
        _event("0:0", 0, 5, "Conv", provider=cuda),
        _event("Memcpy", 10, 5, "MemcpyToHost"),
        _event("1:0", 20, 5, "Conv"),
        _event("2:0", 30, 5, "Softmax"),
    ]
    kernels = read_kernels(events)
    assign(kernels, {"0:0": 0, "1:0": 1, "2:0": 2, "3:0": 3}, {})
    found = applied(kernels, dict.fromkeys(range(4), "onnxruntime/cuda/fp32"), cuda)
    want = ["cuda", "gemm", "gemm", "cuda"]  # the last was fused into another
    assert [found[i].primitive for i in range(4)] == [f"onnxruntime/{a}/fp32" for a in want]


def test_integer_kernels_are_told_from_those_around_them():
    def event(name, ts, op, read="uint8"):
        made = _event(name, ts, 5, op)
        made["args"]["input_type_shape"] = [{read: [1]}]
        return made

    events = [
        event("0:0/x", 0, "QuantizeLinear", "float"),
        event("0:0", 10, "QLinearConv"),
        event("1:0", 20, "MaxPool"),
        event("1:0/y", 30, "DequantizeLinear"),
        event("2:0", 40, "Conv", "float"),
        event("2:1/z", 50, "QuantizeLinear", "float"),
        event("2:1", 60, "QLinearAdd"),
        event("3:0", 70, "Softmax", "float"),
    ]
    kernels = read_kernels(events)
    nodes = {"0:0": 0, "1:0": 1, "2:0": 2, "2:1": 2, "3:0": 3}
    assign(kernels, nodes, {})
    found = applied(kernels, dict.fromkeys(range(4), "onnxruntime/int8/int8"))
    assert [found[i].primitive.split("/")[1] for i in range(4)] == ["int8", "int8", "gemm", "gemm"]
    kernels_of = [found[i].kernel for i in range(4)]
    assert kernels_of == ["QLinearConv", "MaxPool(u8)", "Conv, QLinearAdd", "Softmax"]


def _sum(folder):
    """A segment y = x + w."""
    content = model(
        [helper.make_node("Add", ["x", "w"], ["y"], "0:0")],
        [("x", "float32", (2, 3))],
        [("y", "float32", (2, 3))],
        {"w": np.full((2, 3), 2.0, np.float32)},
    )
    path = folder / "sum.onnx"
    path.write_bytes(content.SerializeToString())
    options = {"nodes": {}, "tensors": {"y": 0}}
    return SegmentSpec(path, "onnxruntime", ("x",), ("y",), options, {0: "onnxruntime/gemm/fp32"})


@pytest.mark.parametrize("profile", [False, True])
def test_on_a_device_each_run_computes_on_what_the_inputs_hold_then(monkeypatch, tmp_path, profile):
    # The processor as a device: its values are others than the caller's arrays all the same.
    monkeypatch.setattr(executable, "HERE", "")
    loaded = LOADER.load(_sum(tmp_path), 1, profile=profile)
    x, y = np.zeros((2, 3), np.float32), np.empty((2, 3), np.float32)
    loaded.bind({"x": x}, {"y": y})
    for number in range(3):
        x[...] = number
        loaded.run()
        assert (y == number + 2).all()
        if profile:
            assert loaded.layer_times()[0] > 0  # the next run opens a new session, and binds anew
    loaded.close()


def test_providers_with_memory_of_their_own_record_their_kernels():
    (cuda, cpu) = providers_of("onnxruntime/cuda/fp32", 1, graph=True)
    assert cuda[1] == {"use_tf32": "0", "enable_cuda_graph": "1"} and cpu == CPU
    assert device_of(cuda) == "cuda" and records(cuda)
    (plain, _) = providers_of("onnxruntime/cuda/fp32", 1)
    assert "enable_cuda_graph" not in plain[1]
    (xnnpack, _) = providers_of("onnxruntime/xnnpack/fp32", 3, graph=True)
    assert xnnpack[1] == {"intra_op_num_threads": "3"}
    assert device_of(xnnpack) == device_of(CPU) == "cpu" and not records(CPU)


def test_a_provider_is_believed_when_it_starts():
    assert starts(onnxruntime, CPU)
    assert not starts(onnxruntime, "TensorrtExecutionProvider")


def test_a_provider_that_does_not_start_is_told_with_the_reason(tmp_path):
    library = SimpleNamespace(__file__=str(tmp_path / "__init__.py"))
    assert missing(library, "TensorrtExecutionProvider") == "its library is not installed"
    (tmp_path / "capi").mkdir()
    for name in ("tensorrt", "shared"):
        (tmp_path / "capi" / f"libonnxruntime_providers_{name}.so").write_bytes(b"no library")
    said = missing(library, "TensorrtExecutionProvider")
    assert said.startswith("libonnxruntime_providers_shared.so: ") and str(tmp_path) not in said


def test_what_is_listed_and_does_not_start_is_no_capability(monkeypatch):
    listed = ["TensorrtExecutionProvider", CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    info = LOADER.probe()
    assert not any(word.startswith("ep:") for word in info.capabilities)
    (lack,) = info.lacks
    assert lack == "TensorrtExecutionProvider does not start: its library is not installed"
