"""Rounded networks: what they compute is what rounding by hand gives."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from qsdnn.model import load_graph
from qsdnn.model.calibration import load_calibrator
from qsdnn.plan.build import Builder
from qsdnn.quantize.simulator import ENGINE, EXACT, Part, load_simulator
from qsdnn_primitives.quantization.scale import quantize_weight
from qsdnn_primitives.simulation.codebook import codebook, nearest
from qsdnn_primitives.simulation.fixed_point import format_of_range, format_of_values

RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 3, 6, 6)).astype(np.float32)
CONV = RNG.standard_normal((5, 3, 1, 1)).astype(np.float32)
GEMM = RNG.standard_normal((180, 4)).astype(np.float32) / 13


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4), st.integers(2, 16))
def test_a_format_spans_its_range_in_the_finest_steps(low, width, bits):
    low, high = min(low, 0.0), max(low + width, 0.0)
    form = format_of_range(low, high, bits)
    grid = form.grid
    assert form.integer + form.fraction == bits
    assert grid.low * grid.step <= low and (grid.high + 1) * grid.step >= high
    finer = grid.step / 2
    assert grid.low * finer > low or (grid.high + 1) * finer < high
    inside = np.linspace(max(low, grid.low * grid.step), min(high, grid.high * grid.step), 50,
                         dtype=np.float32)  # fmt: skip
    error = np.abs(form.round(inside) - inside)
    assert error.max() <= grid.step * 0.5001 + 1e-6 * max(-low, high)


def test_a_few_large_weights_are_clipped_where_that_loses_less():
    values = np.append(RNG.standard_normal(4000), [40.0]).astype(np.float32) / 10
    chosen, spanning = format_of_values(values, 4), format_of_range(-4.0, 4.0, 4)
    assert chosen.integer < spanning.integer

    def loss(form):
        return np.square(form.round(values) - values).mean()

    assert loss(chosen) < 0.5 * loss(spanning)


def least_loss(values, entries):
    """The optimal squared error of a codebook, by dynamic programming over intervals."""
    ordered = np.sort(values)
    n = len(ordered)
    alone = np.array([[np.square(ordered[i:j] - ordered[i:j].mean()).sum() if j > i else 0.0
                       for j in range(n + 1)] for i in range(n)])  # fmt: skip
    best = np.full(n + 1, np.inf)
    best[0] = 0.0
    for _ in range(entries):
        best = np.array([0.0] + [min(best[i] + alone[i, j] for i in range(j))
                                 for j in range(1, n + 1)])  # fmt: skip
    return best[n]


@pytest.mark.parametrize("entries", [2, 4, 8])
@pytest.mark.parametrize("seed", range(4))
def test_a_codebook_is_nearly_the_best_there_is(entries, seed):
    values = np.random.default_rng(seed).standard_normal(100).astype(np.float32)
    book = codebook(values, entries)
    assert len(book) <= entries and (np.diff(book) >= 0).all()
    rounded = nearest(values, book)
    assert np.isin(rounded, book).all()
    assert np.abs(rounded - values) == pytest.approx(
        np.abs(values[:, None] - book).min(axis=1), abs=1e-6
    )
    assert np.square(rounded - values).sum() <= 1.25 * least_loss(values, entries)


def test_few_different_weights_need_no_rounding():
    values = np.array([0, 0, 0.5, -1, 0.5], np.float32)
    assert (nearest(values, codebook(values, 4)) == values).all()


@pytest.fixture
def network(tmp_path):
    """A convolution with a Relu, and a matrix product; calibrated on what it is run with."""
    info = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
                helper.make_node("Relu", ["c"], ["r"], "relu"),
                helper.make_node("Flatten", ["r"], ["f"], "flatten"),
                helper.make_node("Gemm", ["f", "m", "b"], ["y"], "gemm"),
            ],
            "two products",
            [info("x", TensorProto.FLOAT, X.shape)],
            [info("y", TensorProto.FLOAT, (8, 4))],
            [
                numpy_helper.from_array(CONV, "w"),
                numpy_helper.from_array(GEMM, "m"),
                numpy_helper.from_array(np.zeros(4, np.float32), "b"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "model.onnx")
    graph = load_graph(tmp_path / "model.onnx", workdir=tmp_path)
    return graph, load_calibrator("minmax").calibrate(graph, {"x": X}), tmp_path


def outputs(network, name, rounded):
    """Outputs where some layers are rounded; `rounded` maps the kind of layer to part and bits."""
    graph, calibration, folder = network
    simulator = load_simulator(name)
    plan = [EXACT for _ in graph.layers]
    for layer in graph.layers:
        if layer.kind in rounded:
            part, bits = rounded[layer.kind]
            found = simulator.roundings(layer, bits, calibration)
            plan[layer.index] = next(r.primitive for r in found if r.part is part)
    builder = Builder(graph, {ENGINE: simulator}, folder, calibration=calibration)
    (segment,) = builder.build(plan).manifest["segments"]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(folder / segment["artifact"], options)
    return session.run(None, {"x": X})[0]


def by_hand(conv=CONV, gemm=GEMM, read=lambda v: v, made=lambda v: v):
    relu = np.maximum(np.einsum("nchw,oc->nohw", read(X), conv[:, :, 0, 0]), 0)
    return made(relu).reshape(8, -1) @ gemm


def test_fixed_point_weights_and_activations(network):
    form = format_of_values(CONV, 5)
    got = outputs(network, "fixed-point", {"conv": (Part.WEIGHTS, 5)})
    assert got == pytest.approx(by_hand(conv=form.round(CONV)), abs=1e-5)
    assert got != pytest.approx(by_hand(), abs=1e-2)

    _, calibration, _ = network
    read = format_of_range(*calibration.range("x"), 5)
    made = format_of_range(*calibration.range("r"), 5)
    got = outputs(network, "fixed-point", {"conv": (Part.ACTIVATIONS, 5)})
    assert got == pytest.approx(by_hand(read=read.round, made=made.round), abs=1e-5)
    both = outputs(network, "fixed-point", {"conv": (Part.BOTH, 5)})
    assert both == pytest.approx(by_hand(form.round(CONV), GEMM, read.round, made.round), abs=0.05)


def test_a_codebook_of_weights(network):
    got = outputs(network, "codebook", {"gemm": (Part.WEIGHTS, 2)})
    shared = nearest(GEMM, codebook(GEMM, 4))
    assert len(np.unique(shared)) == 4
    assert got == pytest.approx(by_hand(gemm=shared), abs=1e-5)


def test_int8_weights_apart_from_activations(network):
    integers, scale = quantize_weight(CONV, 0, np.float32(1))
    got = outputs(network, "int8", {"conv": (Part.WEIGHTS, 8)})
    assert got == pytest.approx(by_hand(conv=integers * scale[:, None, None, None]), abs=1e-5)

    _, calibration, _ = network

    def uint8(name):
        low, high = calibration.range(name)
        step = (high - low) / 255
        return lambda values: np.rint(values / step).clip(round(low / step), 255) * step

    got = outputs(network, "int8", {"conv": (Part.ACTIVATIONS, 8)})
    # Where a tie is rounded differently an activation is a step off.
    by_uint8 = by_hand(read=uint8("x"), made=uint8("r"))
    assert np.abs(got - by_uint8).mean() < 0.2 * np.abs(got - by_hand()).mean()


def test_what_is_stored(network):
    graph, calibration, _ = network
    (gemm,) = (layer for layer in graph.layers if layer.kind == "gemm")
    (weights, activations, both) = load_simulator("fixed-point").roundings(gemm, 6, calibration)
    assert weights.fp32_bytes == 720 * 4
    assert weights.size_bytes == both.size_bytes == 720 * 6 // 8
    assert activations.size_bytes == activations.fp32_bytes
    (shared,) = load_simulator("codebook").roundings(gemm, 4, calibration)
    assert shared.size_bytes == 720 // 2 + 16 * 4
