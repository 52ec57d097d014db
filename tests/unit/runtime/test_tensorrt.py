"""The board half of TensorRT, on fakes of its API and of CUDA's: there is no such GPU here."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from qsdnn_runtime.engine import EngineError, SegmentSpec
from qsdnn_runtime.engines.tensorrt import LOADER, loader
from qsdnn_runtime.engines.tensorrt.cache import BuildCache
from qsdnn_runtime.engines.tensorrt.cuda import Cuda, find_cuda
from tests.unit.runtime.tensorrt_fake import (
    ASKED,
    LAYERS,
    NODES,
    SHAPE,
    TIMES,
    FakeCudart,
    FakeParserError,
    FakeTensorrt,
)


class Board:
    """A machine with the fakes, and a segment on it."""

    def __init__(self, monkeypatch, folder, **cudart):
        monkeypatch.setenv("QSDNN_BOARD_CACHE", str(folder / "cache"))
        self.cudart = FakeCudart(**cudart)
        self.library = FakeTensorrt(self.cudart, LAYERS, TIMES)
        monkeypatch.setitem(sys.modules, "tensorrt", self.library)
        monkeypatch.setattr(loader, "find_cuda", lambda: find_cuda(lambda name: self.cudart))
        self.artifact = folder / "segment.onnx"
        self.artifact.write_bytes(b"a network")
        self.cache = folder / "cache" / "tensorrt"

    def load(self, family="tensorrt", profile=False):
        options = {"nodes": NODES, "tensors": {}}
        spec = SegmentSpec(self.artifact, family, ("x",), ("y",), options, ASKED)
        return LOADER.load(spec, threads=1, profile=profile)


@pytest.fixture
def board(monkeypatch, tmp_path):
    return Board(monkeypatch, tmp_path)


def test_a_run_copies_in_executes_copies_out_and_waits(board):
    executable = board.load()
    x, y = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    executable.bind({"x": x}, {"y": y})
    board.cudart.calls.clear()
    executable.run()
    assert board.cudart.calls == [
        *("cudaMemcpyAsync:in", "cudaGraphLaunch", "cudaMemcpyAsync:out", "cudaStreamSynchronize")
    ]
    assert (y == 3).all()
    x[...] = 2  # what the buffer holds when it runs counts, not when it was bound
    executable.run()
    assert (y == 5).all()
    got = executable.call({"x": np.full(SHAPE, 3, np.float32)})
    assert (got["y"] == 7).all() and (y == 5).all()
    executable.close()
    executable.close()
    assert not board.cudart.memory
    assert board.cudart.calls.count("cudaGraphExecDestroy") == 1
    assert board.cudart.calls[-1] == "cudaStreamDestroy"


def test_what_cannot_be_recorded_is_executed_kernel_by_kernel(monkeypatch, tmp_path):
    board = Board(monkeypatch, tmp_path, fails={"cudaGraphInstantiateWithFlags"})
    executable = board.load()
    y = np.zeros(SHAPE, np.float32)
    executable.bind({"x": np.ones(SHAPE, np.float32)}, {"y": y})
    board.cudart.calls.clear()
    executable.run()
    assert board.cudart.calls[1] == "execute 7" and (y == 3).all()


def test_buffers_of_another_shape_or_type_are_refused(board):
    executable = board.load()
    good, wrong = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float64)
    with pytest.raises(EngineError, match="'y' is float64"):
        executable.bind({"x": good}, {"y": wrong})
    with pytest.raises(EngineError, match="'x'"):
        executable.call({"x": wrong})
    with pytest.raises(EngineError, match=r"'x' has the shape \(3,\)"):
        executable.call({"x": good[0]})


def test_the_second_load_builds_nothing(board):
    board.load().close()
    assert board.library.calls == ["network 2", "build"]  # 1 << STRONGLY_TYPED
    board.load(profile=True).close()
    assert board.library.calls == ["network 2", "build"]
    board.load("tensorrt-tf32").close()  # another engine, with the timings of the first
    assert board.library.calls.count("build") == 2
    assert board.library.config.timings == [b"timings"]
    board.library.__version__ = "10.4.0"  # nothing that is kept fits another version
    board.load().close()
    assert board.library.calls.count("build") == 3
    assert board.library.config.timings == [b""]


def test_files_that_are_broken_are_made_anew(board):
    board.load().close()
    (engine,) = board.cache.glob("*.engine")
    (timings,) = board.cache.glob("*.timings")
    engine.write_bytes(b"broken")
    timings.write_bytes(b"broken")
    board.load().close()
    assert engine.read_bytes() == b"plan" and board.library.config.timings == [b""]
    assert len(list(board.cache.iterdir())) == 2  # no parts of files


def test_engines_used_longest_ago_are_removed(tmp_path):
    cache = BuildCache(tmp_path / "made", "a GPU", cap_bytes=10)
    files = [tmp_path / "made" / f"{i}.engine" for i in range(3)]
    for file in files:
        cache.write(file, b"12345")
    assert sorted((tmp_path / "made").iterdir()) == files[1:]
    assert cache.read(files[0]) is None and cache.read(files[1]) == b"12345"


def test_settings_of_a_build(board):
    board.load()
    config = board.library.config
    assert config.flags == set()  # TF32 is off
    assert config.pools == {"workspace": 500} and config.profiling_verbosity == "detailed"
    board.load("tensorrt-tf32")
    assert board.library.config.flags == {"tf32"}


def test_the_parser_s_refusal_names_node_and_reason(board):
    board.library.refusals.append(FakeParserError("3:0", "Det", "no importer\n  for Det"))
    with pytest.raises(EngineError, match=r"node '3:0' \(Det\): no importer for Det"):
        board.load()
    board.library.refusals[:] = [FakeParserError("", "", "not a model")]
    with pytest.raises(EngineError, match="not a model"):
        board.load()


def test_failures_are_told_in_the_words_of_the_log(board):
    board.library.builds = False
    with pytest.raises(EngineError, match="no engine can be built: no kernel for node 0:0"):
        board.load()
    board.library.builds, board.library.executes = True, False
    with pytest.raises(EngineError, match="it is lost"):
        board.load()
    assert not board.cudart.memory  # nothing is left behind
    with pytest.raises(EngineError, match="no family"):
        board.load("tensorrt-dla")


def test_memory_that_is_missing(monkeypatch, tmp_path):
    board = Board(monkeypatch, tmp_path, fails={"cudaHostAlloc"})
    with pytest.raises(EngineError, match=r"cudaHostAlloc: it does not work \(2\)"):
        board.load()
    assert not board.cudart.memory


def test_the_probe(board):
    info = LOADER.probe()
    assert (info.name, info.version, info.devices) == ("tensorrt", "10.3.0", ("Fake GPU",))
    assert info.capabilities == ("FP32", "FP16", "TF32", "BF16", "opset:20")
    board.cudart.major = 7
    assert LOADER.probe().capabilities == ("FP32", "FP16", "opset:20")
    board.library.Builder = lambda log: 1 / 0
    assert LOADER.probe() is None


def test_no_gpu_an_old_version_or_nothing_installed(monkeypatch, board):
    board.cudart.count = 0
    assert LOADER.probe() is None
    with pytest.raises(EngineError, match="no GPU"):
        board.load()
    board.library.__version__ = "8.6.1"
    with pytest.raises(EngineError, match=r"8\.6\.1 is older than 10"):
        board.load()
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert LOADER.probe() is None


def test_the_cuda_runtime_is_looked_for_and_its_errors_are_told():
    def missing(name):
        raise OSError(name)

    assert find_cuda(missing) is None
    cuda = Cuda(FakeCudart(fails={"cudaMemGetInfo", "cudaGetDeviceCount"}))
    assert cuda.device_count() == 0 and cuda.compute_capability() == (8, 0)
    with pytest.raises(EngineError, match=r"cudaMemGetInfo: it does not work \(2\)"):
        cuda.free_bytes()


def test_times_and_kernels_of_layers(board):
    executable = board.load(profile=True)
    executable.bind({"x": np.ones(SHAPE, np.float32)}, {"y": np.ones(SHAPE, np.float32)})
    assert executable.layer_times() == dict.fromkeys(range(4), 0.0)  # the warm-up is not counted
    for _ in range(2):
        executable.run()
    assert "cudaGraphLaunch" not in board.cudart.calls
    assert executable.layer_times() == {0: 8.0, 1: 0.0, 2: 5.0, 3: 2.0}
    found = executable.applied()
    assert {i: one.primitive for i, one in found.items()} == ASKED
    assert [one.kernel for one in found.values()] == [
        *("CaskConvolution(sm80_f32f32)", "CaskConvolution(sm80_f32f32)"),
        *("CaskConvolution(sm80_h1688)", "kgen"),
    ]
