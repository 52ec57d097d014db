"""Calibrators: which ranges they find, and what they refuse."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from qsdnn.errors import InputError
from qsdnn.model.calibration import Calibrator, load_calibrator
from qsdnn.model.load import load_graph

METHODS = ("minmax", "percentile", "entropy")


def _graph(folder, batch=1):
    """Input x, y = relu(conv(x)), where the convolution only negates; and a second input."""
    info = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Add", ["r", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [info(name, onnx.TensorProto.FLOAT, (batch, 1, 8, 8)) for name in "xz"],
        [info("y", onnx.TensorProto.FLOAT, (batch, 1, 8, 8))],
        [numpy_helper.from_array(np.full((1, 1, 1, 1), -1, np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return load_graph(folder / "model.onnx", workdir=folder)


def _inputs(n):
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal((n, 1, 8, 8)).astype(np.float32) for name in "xz"}


@pytest.mark.parametrize("batch", [1, 3])
def test_minmax_is_the_extremes_of_all_examples(tmp_path, batch):
    inputs, told = _inputs(7), []
    inputs["x"][6, 0, 0, 0] = 9  # only in the last, incomplete batch
    calibrator = load_calibrator("minmax")
    assert isinstance(calibrator, Calibrator)
    found = calibrator.calibrate(_graph(tmp_path, batch), inputs, lambda *done: told.append(done))
    x, z = inputs["x"], inputs["z"]
    relu = np.maximum(-x, 0)
    for name, values in {"x": x, "z": z, "c": -x, "r": relu, "y": relu + z}.items():
        assert found.ranges[name] == pytest.approx((values.min(), values.max()))
    assert set(found.ranges) == set("xzcry")
    runs = -(-7 // batch)
    assert told == [(i + 1, runs) for i in range(runs)]
    assert found.method == "minmax"


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_outliers_are_left_out(tmp_path, method, capsys):
    inputs = _inputs(400)
    inputs["x"][5, 0, 0, 0] = 100
    found = load_calibrator(method).calibrate(_graph(tmp_path), inputs)
    least, most = found.ranges["x"]
    assert least < -2
    assert 2 < most < 50
    assert found.ranges["r"][0] == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("method", METHODS)
def test_a_silent_first_example_and_a_dead_tensor_do_no_harm(tmp_path, method):
    inputs = _inputs(3)
    inputs["x"] = np.abs(inputs["x"])  # so that the relu is always 0
    inputs["z"][0] = 1e-9
    found = load_calibrator(method).calibrate(_graph(tmp_path), inputs)
    assert found.ranges["r"] == (0, 0)
    assert found.ranges["z"][1] > 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda i: i.pop("z"), "no input 'z'"),
        (lambda i: i.update(q=i["z"]), "unknown input 'q'"),
        (lambda i: i.update(x=i["x"].astype(np.float64)), "float64, not float32"),
        (lambda i: i.update(x=i["x"][:, :, :4]), r"\(n, 1, 8, 8\)"),
        (lambda i: i.update(x=i["x"][0, 0, 0, 0]), r"\(n, 1, 8, 8\)"),
        (lambda i: i.update(x=i["x"][:0]), "0 examples"),
        (lambda i: i.update(x=i["x"][:2]), "'x' 2, 'z' 5"),
        (lambda i: i["x"].__setitem__((1, 0, 0, 0), np.nan), "not finite"),
    ],
)
def test_bad_inputs_are_refused_by_name(tmp_path, change, complaint):
    inputs = _inputs(5)
    change(inputs)
    with pytest.raises(InputError, match=complaint):
        load_calibrator("minmax").calibrate(_graph(tmp_path), inputs)


def test_values_that_overflow_on_the_way_are_told(tmp_path):
    inputs = _inputs(1)
    inputs["x"][:], inputs["z"][:] = -3e38, 3e38
    with pytest.raises(InputError, match="values of 'y' that are not finite"):
        load_calibrator("minmax").calibrate(_graph(tmp_path), inputs)


def test_an_unknown_calibrator_is_told_the_nearest():
    with pytest.raises(InputError, match="did you mean 'minmax'"):
        load_calibrator("minimax")
