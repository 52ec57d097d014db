"""The engine torch on a CPU, host and board half together, against onnxruntime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make test-torch")

from qsdnn import examples  # noqa: E402
from qsdnn.primitive import Precision  # noqa: E402
from qsdnn_runtime.engine import EngineError, SegmentSpec  # noqa: E402
from qsdnn_runtime.engines.torch import LOADER, gemm_convolution  # noqa: E402
from tests.unit.runtime.blas_case import Arrays, draw, graph_of, one_node, reference  # noqa: E402
from tests.unit.runtime.operators import NETWORKS, OPERATORS, feeds_of  # noqa: E402
from tests.unit.runtime.torch_case import (  # noqa: E402
    assert_near,
    check_every_primitive,
    load,
    offers,
    spec_of,
)


@pytest.mark.parametrize("case", OPERATORS.values(), ids=OPERATORS.keys())
def test_operator(case: Callable[[], tuple[onnx.ModelProto, Arrays]]) -> None:
    check_every_primitive(*case())


RESIZES = {
    "nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"},
    "linear": {"mode": "linear"},
    "linear, corners": {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    "cubic": {"mode": "cubic", "cubic_coeff_a": -0.5},
}


@pytest.mark.parametrize("attributes", RESIZES.values(), ids=RESIZES.keys())
@pytest.mark.parametrize("scales", [(2.0, 2.0), (1.6, 0.5)], ids=["larger", "mixed"])
def test_resize(attributes: dict[str, object], scales: tuple[float, float]) -> None:
    factors = np.array([1, 1, *scales], np.float32)
    check_every_primitive(*one_node("Resize", [draw(1, 3, 5, 6), None, factors], [2], **attributes))


def test_transposed_convolution() -> None:
    for pads in ([1, 1, 1, 1], [0, 1, 2, 0]):
        weights = [draw(4, 3, 3, 3), draw(6)]
        check_every_primitive(
            *one_node(
                "ConvTranspose", [draw(2, 4, 5, 6), *weights], [1, 2],
                strides=[2, 3], group=2, pads=pads, output_padding=[1, 0],
            )
        )  # fmt: skip


CONVOLUTIONS = {
    "3x3": ((4, 6, 3), {"pads": [1] * 4}),
    "1x1": ((4, 6, 1), {}),
    "1x1 of stride 2": ((4, 6, 1), {"strides": [2, 2]}),
    "unlike sides": ((4, 6, 3), {"pads": [0, 1, 2, 0], "strides": [2, 1]}),
    "dilated": ((4, 6, 3), {"dilations": [2, 2], "pads": [2] * 4}),
    "grouped": ((4, 6, 3), {"group": 2}),
    "depthwise": ((4, 4, 3), {"group": 4, "pads": [1] * 4}),
    "depthwise of two": ((4, 8, 3), {"group": 4, "pads": [0, 0, 1, 1]}),
}


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
@pytest.mark.parametrize("batch", [1, 2])
def test_convolution_in_every_precision(case, batch: int) -> None:
    (channels, filters, taps), attributes = case
    weights = draw(filters, channels // attributes.get("group", 1), taps, taps)
    operands = [draw(batch, channels, 7, 8), weights, draw(filters)]
    model = one_node("Conv", operands, [1, 2], **attributes)
    kernels = check_every_primitive(*model, Precision.FP32, Precision.BF16)
    assert "mkldnn_convolution" in kernels["torch/onednn/fp32"]
    assert "_convolution_pointwise" in kernels["torch/onednn-nhwc/bf16"]
    assert "mkldnn" not in kernels["torch/native/fp32"]
    is_depthwise = attributes.get("group") == channels
    assert ("torch/gemm/fp32" in kernels) is not is_depthwise
    assert is_depthwise or "mm" in kernels["torch/gemm/fp32"]


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
def test_patches_as_a_gpu_makes_them(case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm_convolution, "UNFOLDING", ("cpu",))
    (channels, filters, taps), attributes = case
    weights = draw(filters, channels // attributes.get("group", 1), taps, taps)
    model = one_node("Conv", [draw(2, channels, 7, 8), weights], [1], **attributes)
    kernel = check_every_primitive(*model).get("torch/gemm/fp32", "im2col")
    assert "im2col" in kernel or case == CONVOLUTIONS["1x1"]


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str, tmp_path: Path) -> None:
    model = examples.build(name)
    check_every_primitive(model, feeds_of(graph_of(model, tmp_path)))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(NETWORKS[:3]), st.data())
def test_any_mix_and_any_outputs(name: str, data: st.DataObject) -> None:
    """Which tensors leave a segment decides what may share memory; no value may depend on it."""
    with tempfile.TemporaryDirectory() as folder:
        graph = graph_of(examples.build(name), Path(folder))
        choices = [data.draw(st.sampled_from(row)) for row in offers(graph)]
        inner = [tensor for layer in graph.layers for tensor in layer.outputs]
        some = [tensor for tensor in inner if data.draw(st.booleans())] or list(graph.outputs)
        feeds = feeds_of(graph)
        wanted = load(graph, choices, Path(folder), inner).call(feeds)
        executable = load(graph, choices, Path(folder), some)
        for _ in range(2):
            found = executable.call(feeds)
            assert_near(found, {tensor: wanted[tensor] for tensor in some}, 1e-4)
        assert_near(wanted, reference(examples.build(name), feeds), 1e-4)


def test_bound_arrays_are_read_and_written_in_place(tmp_path: Path) -> None:
    model = examples.build("tiny-cnn")
    graph = graph_of(model, tmp_path)
    executable = load(graph, [row[0] for row in offers(graph)], tmp_path)
    feeds = feeds_of(graph)
    outputs = {n: np.empty(graph.tensors[n].shape or (), np.float32) for n in graph.outputs}
    executable.bind(feeds, outputs)
    for _ in range(2):
        for value in feeds.values():
            value[...] = draw(*value.shape)
        executable.run()
        assert_near(outputs, reference(model, feeds), 1e-4)
    before = {name: value.copy() for name, value in outputs.items()}
    executable.call({name: value + 1 for name, value in feeds.items()})
    executable.applied()
    assert all((outputs[name] == value).all() for name, value in before.items())
    executable.run()
    assert_near(outputs, before, 1e-6)


def test_threads_are_set_again_when_another_changed_them(tmp_path: Path) -> None:
    graph = graph_of(examples.build("tiny-cnn"), tmp_path)
    choices = [row[0] for row in offers(graph)]
    was = torch.get_num_threads()
    try:
        executable = LOADER.load(spec_of(graph, choices, tmp_path), threads=2)
        torch.set_num_threads(1)
        executable.call(feeds_of(graph))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(was)


def test_onednn_stays_as_it_was_behind_native_convolutions(tmp_path: Path) -> None:
    graph = graph_of(examples.build("tiny-cnn"), tmp_path)
    named = [{p.algorithm: p for p in row} for row in offers(graph)]
    choices = [row.get("native", next(iter(row.values()))) for row in named]
    load(graph, choices, tmp_path).call(feeds_of(graph))
    assert torch._C._get_mkldnn_enabled()


def test_probe() -> None:
    info = LOADER.probe()
    assert info is not None
    assert info.version == torch.__version__ and info.devices[0] == "CPU"
    assert ("cuda/fp32" in info.capabilities) is torch.cuda.is_available()


def _refusal(spec: SegmentSpec) -> str:
    with pytest.raises(EngineError) as caught:
        LOADER.load(spec, threads=1)
    return str(caught.value)


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(examples.build("tiny-cnn"), tmp_path)
    spec = spec_of(graph, [row[0] for row in offers(graph)], tmp_path)
    program = spec.artifact.read_text()

    def changed(text: str, family: str = "torch") -> SegmentSpec:
        path = tmp_path / "changed.json"
        path.write_text(text)
        return SegmentSpec(path, family, spec.inputs, spec.outputs, {}, spec.layers)

    assert "unknown operator Conv/fast-nhwc/fp32" in _refusal(
        changed(program.replace("onednn-nhwc/fp32", "fast-nhwc/fp32"))
    )
    assert "unknown precision in 'onednn-nhwc/fp8'" in _refusal(
        changed(program.replace("onednn-nhwc/fp32", "onednn-nhwc/fp8"))
    )
    assert "is not a" in _refusal(changed("{}"))
    if not torch.cuda.is_available():
        assert "there is no GPU here" in _refusal(changed(program, "torch-cuda"))
    monkeypatch.setattr(torch, "__version__", "2.3.1")
    assert _refusal(spec) == "torch 2.3.1 is older than 2.4"
    assert LOADER.probe() is None


def test_run_before_bind_and_wrong_buffers(tmp_path: Path) -> None:
    graph = graph_of(examples.build("tiny-cnn"), tmp_path)
    executable = load(graph, [row[0] for row in offers(graph)], tmp_path)
    with pytest.raises(EngineError, match="run before bind"):
        executable.run()
    with pytest.raises(EngineError, match="no buffer for"):
        executable.bind({}, {})
    feeds = {name: value.astype(np.float64) for name, value in feeds_of(graph).items()}
    with pytest.raises(EngineError, match="is \\('float64'"):
        executable.call(feeds)
