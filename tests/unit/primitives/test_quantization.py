"""QuantizeLinear and DequantizeLinear around chosen nodes: where they go, and what they carry."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from qsdnn.errors import BuildError
from qsdnn.model.calibration import Calibration
from qsdnn_primitives.quantization.qdq import insert
from qsdnn_primitives.quantization.scale import Scale, quantize_weight

SHAPE = (1, 8, 6, 6)


def _random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X = _random(*SHAPE)


def _model(nodes, weights, outputs=("y",), opset=17):
    nodes = [helper.make_node(*node[:3], name=str(i), **(node[3:] or ({},))[0])
             for i, node in enumerate(nodes)]  # fmt: skip
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [info("x", TensorProto.FLOAT, SHAPE)],
        [info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _run(model, folder, names=None):
    """Outputs by name, computed as written: nothing is fused."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    path = folder / "model.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    onnx.checker.check_model(path)  # that nodes are sorted, among others
    session = onnxruntime.InferenceSession(path, options)
    names = names or [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": X}), strict=True))


def _calibrated(model, folder):
    """The range of every activation."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    del whole.graph.output[:]
    made = [name for node in model.graph.node for name in node.output]
    whole.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made
    )
    values = {"x": X, **_run(whole, folder)}
    ranges = {name: (float(v.min()), float(v.max())) for name, v in values.items()}
    return Calibration(method="minmax", ranges=ranges)


def _quantized(model, names, folder):
    """The model with these nodes in integers, its operators counted, and outputs of both."""
    calibration, wants = _calibrated(model, folder), _run(model, folder)
    insert(model, names, calibration, folder)
    return Counter(n.op_type for n in model.graph.node), _run(model, folder), wants


def _sqnr_db(got, want):
    return 10 * np.log10(np.sum(want**2) / np.sum((got - want) ** 2))


WEIGHTS = {"w": _random(8, 8, 1, 1, seed=1) / 3, "b": _random(8, seed=2)}


def test_neighbours_in_fp32_read_and_give_what_they_did(tmp_path):
    model = _model(
        [
            ("Conv", ["x", "w", "b"], ["i"]),
            ("Conv", ["x", "w", "b"], ["f"]),  # reads x exact
            ("Conv", ["f", "w", "b"], ["y"]),  # so that f is exact, for the caller and for 3
            ("Conv", ["f", "w"], ["z"]),
        ],
        WEIGHTS,
        outputs=("i", "f", "y", "z"),
    )
    counts, got, want = _quantized(model, {"0", "2"}, tmp_path)
    assert counts == {"Conv": 4, "QuantizeLinear": 4, "DequantizeLinear": 8}
    for name, exact in {"i": False, "f": True, "y": False, "z": True}.items():
        assert np.array_equal(got[name], want[name]) == exact
        assert exact or _sqnr_db(got[name], want[name]) > 35


def test_between_integers_a_tensor_has_one_pair_and_clamps_vanish(tmp_path):
    model = _model(
        [
            ("Conv", ["x", "w", "b"], ["c"]),
            ("Relu", ["c"], ["r"]),
            ("MaxPool", ["r"], ["p"], {"kernel_shape": [2, 2]}),
            ("Conv", ["p", "w", "b"], ["d"]),
            ("Conv", ["p", "w", "b"], ["e"]),
            ("Add", ["d", "e"], ["s"]),
            ("Clip", ["s", "low", "high"], ["y"]),
        ],
        {**WEIGHTS, "low": np.float32(0), "high": np.float32(2)},
    )
    counts, got, want = _quantized(model, set("0123456"), tmp_path)
    activations = list("xrpdey")
    assert counts["QuantizeLinear"] == len(activations)
    assert counts["Relu"] == counts["Clip"] == 0
    assert got["y"].min() == 0
    assert got["y"].max() == pytest.approx(2)
    assert _sqnr_db(got["y"], want["y"]) > 25
    scales = {
        node.input[0].partition("/")[0]: node.input[1:]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    held = {t.name: numpy_helper.to_array(t, str(tmp_path)) for t in model.graph.initializer}
    for before, after in zip(scales["r"], scales["p"], strict=True):
        assert held[before] == held[after]  # a pool hands integers on


def test_a_clip_that_would_take_zero_away_stays(tmp_path):
    model = _model(
        [("Conv", ["x", "w", "b"], ["c"]), ("Clip", ["c", "low", "high"], ["y"])],
        {**WEIGHTS, "low": np.float32(1), "high": np.float32(6)},
    )
    counts, got, want = _quantized(model, {"0", "1"}, tmp_path)
    assert counts["Clip"] == 1
    assert got["y"].min() == pytest.approx(1, abs=0.05)
    assert _sqnr_db(got["y"], want["y"]) > 30


def test_a_product_at_the_end_gives_fp32(tmp_path):
    nodes = [
        ("Flatten", ["x"], ["v"]),
        ("Gemm", ["v", "m", "n"], ["g"], {"transB": 1}),
        ("Relu", ["g"], ["y"]),
    ]
    weights = {"m": _random(5, 288, seed=1), "n": _random(5, seed=2)}
    counts, got, want = _quantized(_model(nodes, weights), {"0", "1"}, tmp_path)
    assert counts["QuantizeLinear"] == 2
    assert _sqnr_db(got["y"], want["y"]) > 25
    counts, got, want = _quantized(_model(nodes, weights), set("012"), tmp_path)
    assert counts["QuantizeLinear"] == 3  # the clamp is in the limits of the third
    assert got["y"].min() == 0
    assert _sqnr_db(got["y"], want["y"]) > 25


def test_a_constant_operand_is_quantized_as_an_activation(tmp_path):
    model = _model([("Mul", ["x", "k"], ["y"])], {"k": _random(8, 1, 1, seed=3)})
    counts, got, want = _quantized(model, {"0"}, tmp_path)
    assert counts == {"Mul": 1, "QuantizeLinear": 2, "DequantizeLinear": 3}
    assert _sqnr_db(got["y"], want["y"]) > 35


def test_weights_are_integers_in_files_that_plans_share(tmp_path):
    weights = {"w": _random(64, 8, 3, 3, seed=1), "b": _random(64, seed=2)}
    nodes = [
        ("Conv", ["x", "w", "b"], ["c"], {"pads": [1, 1, 1, 1]}),
        ("Sigmoid", ["c"], ["y"]),
    ]
    calibration = _calibrated(_model(nodes, weights), tmp_path)
    before = set(tmp_path.iterdir())
    files = []
    for names in ({"0"}, {"0", "1"}):
        model = _model(nodes, weights)
        insert(model, names, calibration, tmp_path)
        (tensor,) = (t for t in model.graph.initializer if t.name == "0/weight/integers")
        files.append(onnx.external_data_helper.ExternalDataInfo(tensor).location)
        assert tensor.data_type == TensorProto.INT8
        assert not {"w", "b"} & {t.name for t in model.graph.initializer}
    assert files[0] == files[1]
    (new,) = set(tmp_path.iterdir()) - before
    assert new.stat().st_size == 64 * 8 * 3 * 3


def test_missing_ranges_and_old_operators_are_told(tmp_path):
    model = _model([("Conv", ["x", "w"], ["y"])], WEIGHTS)
    with pytest.raises(BuildError, match="needs a calibration"):
        insert(model, {"0"}, None, tmp_path)
    some = Calibration(method="minmax", ranges={"x": (-1, 1)})
    with pytest.raises(BuildError, match="no range of tensor 'y'"):
        insert(model, {"0"}, some, tmp_path)
    old = _model([("Conv", ["x", "w"], ["y"])], WEIGHTS, opset=12)
    with pytest.raises(BuildError, match="version 13"):
        insert(old, {"0"}, some, tmp_path)


@given(st.floats(-(2.0**99), 0, width=32), st.floats(0, 2.0**99, width=32))
def test_zero_is_exact_and_the_range_is_spanned(low, high):
    scale = Scale.of_range(low, high)
    values = np.array([low, 0, high], np.float32)
    integers = scale.quantize(values).astype(np.float32)
    back = scale.scale * (integers - scale.zero_point)
    assert back[1] == 0
    np.testing.assert_allclose(back, values, rtol=0, atol=1.001 * float(scale.scale))


def test_each_channel_has_its_own_scale_and_no_bias_overflows():
    weight = _random(3, 4, 2, 2) * np.float32([1e-3, 1, 0]).reshape(3, 1, 1, 1)
    integers, scale = quantize_weight(weight, 0, np.float32(0.1))
    assert np.abs(integers).max(axis=(1, 2, 3)).tolist() == [127, 127, 0]
    np.testing.assert_allclose(
        integers * scale.reshape(3, 1, 1, 1), weight, atol=0.51 * scale[:2].max()
    )
    bias = np.float32([1e9, 1, 1])
    _, scale = quantize_weight(weight, 0, np.float32(0.1), bias)
    assert (np.abs(bias) / (scale * np.float32(0.1)) < 2**31).all()
