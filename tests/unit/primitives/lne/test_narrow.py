"""Convolutions and products of few bits: exact on what was rounded, or refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from qsdnn.engine import EngineInfo, load_engines
from qsdnn.errors import BuildError
from qsdnn.examples import build
from qsdnn.model import load_graph
from qsdnn.model.calibration import Calibration
from qsdnn.plan.build import Builder
from qsdnn.primitive import Precision
from qsdnn_primitives.lne.narrow import pack_words
from qsdnn_primitives.lne.packing import cut
from qsdnn_primitives.quantization.scale import Scale, quantize_weight
from qsdnn_runtime import Session
from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.engines.lne import LOADER, loader

ENGINE = load_engines(["lne"])["lne"]
PROBED = LOADER.probe()
INFO = EngineInfo(name="lne", version="1", capabilities=PROBED.capabilities if PROBED else ())
FEW = [p for p in (Precision.INT8, Precision.BF16) if p.upper() in INFO.capabilities]
needs_few = pytest.mark.skipif(len(FEW) < 2, reason="NOT TESTED: the processor lacks int8 or bf16")


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 4), st.booleans())
def test_words_hold_every_weight_in_the_order_of_tiles(outputs, inputs, group, of_bytes):
    lanes, dtype, in_word = 16, (np.int8, np.uint16)[not of_bytes], (4, 2)[not of_bytes]
    w = np.random.default_rng(0).integers(1, 100, (outputs, inputs, 2, 1)).astype(dtype)
    packed = iter(pack_words(w, lanes, group).view(dtype).tolist())
    start = 0
    for size in cut(-(-outputs // lanes), group):
        for block in range(0, inputs, lanes):
            for i in range(2):
                for word in range(block, block + lanes, in_word):
                    for o in range(start * lanes, (start + size) * lanes):
                        for c in range(word, word + in_word):
                            inside = o < outputs and c < inputs
                            assert next(packed) == (w[o, c, i, 0] if inside else 0)
        start += size
    assert next(packed, None) is None


def _convolution(weights, bias, **attributes):
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes)]
    return nodes, {"w": weights, "b": bias}


def _run(nodes, weights, x, precision, folder, calibration=None):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "one", [value("x", 1, x.shape)], [value("y", 1, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(onnx.shape_inference.infer_shapes(model), folder / "model.onnx")
    read = load_graph(folder / "model.onnx", workdir=folder)
    (layer,) = read.layers
    (choice,) = [p for p in ENGINE.primitives(layer, INFO) if p.precision is precision]
    package = Builder(read, {"lne": ENGINE}, folder, calibration=calibration).build([choice])
    with Session(package.manifest, artifacts=folder, profile=True) as session:
        (y,) = session.run(None, {"x": x})
        assert session.applied()[0].primitive == str(choice)
    return y


def _halves(x):
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


@needs_few
@pytest.mark.parametrize("precision", FEW)
@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "stride"), [(16, 16, 3, 1), (20, 37, 3, 2), (48, 5, 1, 1)]
)
def test_sums_are_those_of_the_rounded_numbers(
    tmp_path, precision, inputs, outputs, kernel, stride
):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, inputs, 9, 9)).astype(np.float32)
    w = rng.standard_normal((outputs, inputs, kernel, kernel)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    pads = [kernel // 2] * 4
    nodes, weights = _convolution(w, bias, strides=[stride] * 2, pads=pads)
    if precision is Precision.BF16:
        calibration, seen, used = None, _halves(x), _halves(w)
    else:
        low, high = float(x.min()), float(x.max())
        calibration = Calibration(method="minmax", ranges={"x": (low, high)})
        scale = Scale.of_range(low, high)
        seen = scale.scale * (scale.quantize(x).astype(np.float32) - scale.zero_point)
        integers, steps = quantize_weight(w, 0, scale.scale, bias)
        used = integers * steps[:, None, None, None]
    got = _run(nodes, weights, x, precision, tmp_path, calibration)
    padded = np.pad(seen.astype(np.float64), [(0, 0), (0, 0), (pads[0],) * 2, (pads[0],) * 2])
    want = np.zeros(got.shape)
    for i in range(got.shape[2]):
        for j in range(got.shape[3]):
            part = padded[0, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            want[0, :, i, j] = np.tensordot(used.astype(np.float64), part, 3) + bias
    assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()


@needs_few
@pytest.mark.parametrize("precision", FEW)
@pytest.mark.parametrize("rows", [1, 7])
def test_rows_that_meet_a_matrix_are_rounded_too(tmp_path, precision, rows):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 50)).astype(np.float32)
    w = rng.standard_normal((50, 21)).astype(np.float32)
    calibration = Calibration(method="minmax", ranges={"x": (float(x.min()), float(x.max()))})
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], alpha=0.5)]
    weights = {"w": w, "b": np.ones(21, np.float32)}
    got = _run(nodes, weights, x, precision, tmp_path, calibration)
    assert np.abs(got - (x @ w / 2 + 1)).max() < 0.03 * np.abs(got).max()


@needs_few
def test_what_several_layers_read_is_rounded_once(tmp_path):
    onnx.save(build("squeezenet"), tmp_path / "model.onnx")
    graph = load_graph(tmp_path / "model.onnx", workdir=tmp_path)
    rows = [ENGINE.primitives(layer, INFO) for layer in graph.layers]
    choice = [[p for p in row if p.precision is Precision.BF16] or row[:1] for row in rows]
    package = Builder(graph, {"lne": ENGINE}, tmp_path).build([row[0] for row in choice])
    with Session(package.manifest, artifacts=tmp_path, profile=True) as session:
        session.run(None, {"input": np.zeros((1, 3, 224, 224), np.float32)})
        kernels = [applied.kernel for applied in session.applied().values()]
    expands = [kernel for kernel in kernels if "direct bf16" in kernel]
    assert len(expands) == 8 and all("narrow" in kernel for kernel in expands)
    assert sum("narrow" in kernel for kernel in kernels) < sum("bf16" in k for k in kernels) + 1


def test_int8_without_a_calibration_is_refused(tmp_path):
    if not FEW:
        pytest.skip("NOT TESTED: the processor lacks int8")
    nodes, weights = _convolution(np.ones((16, 16, 1, 1), np.float32), np.ones(16, np.float32))
    with pytest.raises(BuildError, match="needs a calibration"):
        _run(nodes, weights, np.ones((1, 16, 4, 4), np.float32), Precision.INT8, tmp_path)


def test_a_plan_for_another_processor_is_refused_before_it_runs(tmp_path, monkeypatch):
    if not FEW:
        pytest.skip("NOT TESTED: the processor lacks int8 and bf16")
    nodes, weights = _convolution(np.ones((16, 16, 1, 1), np.float32), np.ones(16, np.float32))
    monkeypatch.setattr(loader, "narrow", lambda: ())
    with pytest.raises(EngineError, match="does not compute in bf16"):
        _run(nodes, weights, np.ones((1, 16, 4, 4), np.float32), Precision.BF16, tmp_path)
