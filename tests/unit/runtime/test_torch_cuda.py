"""The order of a GPU segment's operations, on a fake of `torch.cuda` that computes on the CPU.

The fake notes what is asked of streams, graphs and events. It is no GPU: that kernels are right and
fast there is not told by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make test-torch")

from qsdnn import examples  # noqa: E402
from qsdnn.model.layer import Graph  # noqa: E402
from qsdnn_runtime.engine import SegmentSpec  # noqa: E402
from qsdnn_runtime.engines.blas.program import read_program  # noqa: E402
from qsdnn_runtime.engines.torch import cuda as cuda_module  # noqa: E402
from qsdnn_runtime.engines.torch.cuda import CudaExecutable  # noqa: E402
from qsdnn_runtime.engines.torch.gpu import WARM_UP, Gpu, allow_tf32  # noqa: E402
from qsdnn_runtime.engines.torch.library import capabilities, devices  # noqa: E402
from tests.unit.runtime.blas_case import graph_of, reference  # noqa: E402
from tests.unit.runtime.operators import feeds_of  # noqa: E402
from tests.unit.runtime.torch_case import assert_near, offers, spec_of  # noqa: E402


class FakeCuda:
    """Stands for `torch.cuda`: notes calls in order; a graph replays the function it recorded."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.recording: list[Callable[[], None]] | None = None

    def Stream(self) -> Any:
        return SimpleNamespace(
            wait_stream=lambda other: self.calls.append("wait"),
            synchronize=lambda: self.calls.append("synchronize"),
        )

    def current_stream(self) -> object:
        return object()

    @contextmanager
    def stream(self, stream: object) -> Iterator[None]:
        self.calls.append("stream")
        yield

    def CUDAGraph(self) -> Any:
        return SimpleNamespace(replay=lambda: self.calls.append("replay"))

    @contextmanager
    def graph(self, graph: object, stream: object) -> Iterator[None]:
        self.calls.append("record")
        yield
        self.calls.append("recorded")

    def Event(self, enable_timing: bool) -> Any:
        assert enable_timing
        return SimpleNamespace(
            record=lambda stream: self.calls.append("event"),
            elapsed_time=lambda after: 2.0,
        )


class Watched(CudaExecutable):
    """An executable that notes when its steps run; a replayed fake graph runs them."""

    def _execute(self, calls: Any) -> None:
        self._gpu._cuda.calls.append("steps")
        super()._execute(calls)


@pytest.fixture
def case(tmp_path: Path) -> tuple[Graph, SegmentSpec]:
    graph = graph_of(examples.build("tiny-cnn"), tmp_path)
    return graph, spec_of(graph, [row[0] for row in offers(graph)], tmp_path)


def executable_of(spec: SegmentSpec, fake: FakeCuda, *, profile: bool = False) -> Watched:
    gpu = Gpu(cuda=fake, device="cpu")
    return Watched(read_program(spec.artifact), 1, profile, gpu)


def test_a_segment_is_recorded_once_after_a_warm_up(case: tuple[Graph, SegmentSpec]) -> None:
    fake = FakeCuda()
    executable_of(case[1], fake)
    warm_up = ["wait", "stream", *["steps"] * WARM_UP, "synchronize"]
    assert fake.calls == [*warm_up, "record", "steps", "recorded"]


def test_a_run_copies_replays_copies_and_waits(
    case: tuple[Graph, SegmentSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, spec = case
    fake = FakeCuda()
    executable = executable_of(spec, fake)
    feeds = feeds_of(graph)
    outputs = {n: np.empty(graph.tensors[n].shape or (), np.float32) for n in graph.outputs}
    executable.bind(feeds, outputs)
    fake.calls.clear()

    def replay() -> None:
        (there,) = (there for _, there in executable._inputs.values())
        assert (there.numpy() == next(iter(feeds.values()))).all(), "inputs come first"
        fake.calls.append("replay")
        executable._execute(executable._flat)

    executable._graph.replay = replay
    for _ in range(2):
        for value in feeds.values():  # in place, as a session does
            value += 1
        executable.run()
        assert_near(outputs, reference(examples.build("tiny-cnn"), feeds), 1e-4)
    assert fake.calls == ["stream", "replay", "steps", "synchronize"] * 2


def test_a_profiled_run_records_nothing_and_times_each_layer(
    case: tuple[Graph, SegmentSpec],
) -> None:
    graph, spec = case
    fake = FakeCuda()
    executable = executable_of(spec, fake, profile=True)
    assert fake.calls == []
    executable.call(feeds_of(graph))
    count = len(graph.layers)
    assert fake.calls == ["stream", "event", *["steps", "event"] * count, "synchronize"]
    assert executable.layer_times() == {layer.index: 2.0 for layer in graph.layers}
    told = executable.applied()
    assert {index: applied.primitive for index, applied in told.items()} == dict(spec.layers)


def test_products_in_tf32_only_where_a_layer_asks(
    case: tuple[Graph, SegmentSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, spec = case
    allowed: list[bool] = []
    monkeypatch.setattr(cuda_module, "allow_tf32", allowed.append)
    text = spec.artifact.read_text()
    changed = spec.artifact.with_name("tf32.json")
    changed.write_text(text.replace("onednn-nhwc/fp32", "gemm-nhwc/tf32", 1))
    program = read_program(changed)
    CudaExecutable(program, 1, True, Gpu(cuda=FakeCuda(), device="cpu")).call(
        {o.name: np.zeros(o.shape, np.float32) for o in program.inputs}
    )
    # what the layer reads is converted to channels-last first; strict again after each layer
    assert allowed[:3] == [True, True, False] and not any(allowed[3:])


def test_tf32_in_the_words_of_old_and_new_versions() -> None:
    def backends(**switch: object) -> Any:
        matmul, conv = SimpleNamespace(**switch), SimpleNamespace(**switch)
        cudnn = SimpleNamespace(conv=conv, allow_tf32=True)
        return SimpleNamespace(cuda=SimpleNamespace(matmul=matmul), cudnn=cudnn)

    old, new = backends(allow_tf32=True), backends(fp32_precision="none")
    for allowed, word in ((False, "ieee"), (True, "tf32")):
        allow_tf32(allowed, old)
        assert old.cuda.matmul.allow_tf32 is old.cudnn.allow_tf32 is allowed
        allow_tf32(allowed, new)
        assert new.cuda.matmul.fp32_precision == new.cudnn.conv.fp32_precision == word
    assert new.cudnn.allow_tf32 is True  # its reading fails where new words are used


def gpu(major: int, zeros: Callable[..., Any]) -> Any:
    cuda = SimpleNamespace(
        is_available=lambda: True,
        synchronize=lambda: None,
        get_device_capability=lambda: (major, 0),
        get_device_name=lambda: "NVIDIA Test",
    )
    mkldnn = SimpleNamespace(is_available=lambda: False)
    return SimpleNamespace(cuda=cuda, zeros=zeros, backends=SimpleNamespace(mkldnn=mkldnn))


@pytest.mark.parametrize(("major", "tf32"), [(7, False), (9, True)])
def test_capabilities_of_a_gpu(major: int, tf32: bool) -> None:
    library = gpu(major, lambda count, device: torch.zeros(count))
    told = capabilities(library)
    assert {"cuda/fp32", "cuda/fp16"} <= {*told} and "ONEDNN" not in told
    assert ("cuda/tf32" in told) is ("cuda/bf16" in told) is tf32
    assert devices(library) == ("CPU", "NVIDIA Test")


def test_a_gpu_that_runs_no_kernel_is_not_offered() -> None:
    def zeros(count: int, device: str) -> Any:
        raise RuntimeError("no kernel image is available for execution on the device")

    library = gpu(5, zeros)
    assert capabilities(library) == ("FP32",) and devices(library) == ("CPU",)


SCHEMAS = {
    "cudnn_convolution": "self weight padding stride dilation groups benchmark deterministic "
    "allow_tf32",
    "_conv_depthwise2d": "self weight kernel_size bias stride padding dilation",
    "conv_depthwise3d": "self weight kernel_size bias stride padding dilation",
    "_addmm_activation": "self mat1 mat2 beta alpha use_gelu",
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_functions_of_a_gpu_take_the_arguments_that_they_are_given(name: str) -> None:
    schema = getattr(torch.ops.aten, name).default._schema
    assert [argument.name for argument in schema.arguments] == SCHEMAS[name].split()
