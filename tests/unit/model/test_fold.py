from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

RNG = np.random.default_rng(0)


def weight(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 1.5, shape).astype(np.float32)


HOSTS = {
    "Conv": helper.make_node("Conv", ["x", "w"], ["t"], pads=[1, 1, 1, 1]),
    "ConvTranspose": helper.make_node("ConvTranspose", ["x", "w"], ["t"], pads=[1, 1, 1, 1]),
    "BatchNormalization": helper.make_node(
        "BatchNormalization", ["x", "w", "b", "mean", "var"], ["t"]
    ),
}
NORM = helper.make_node("BatchNormalization", ["t", "s", "b", "mean", "var"], ["y"], epsilon=0.1)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("tail", ["BatchNormalization", "Add", "Sub", "Mul", "Div", "Mul-left"])
@pytest.mark.parametrize("constant", [(4, 1, 1), (1, 4, 1, 1), ()])
def test_channel_constants_fold(save, equivalent, host, tail, constant):
    inputs = ["c", "t"] if tail == "Mul-left" else ["t", "c"]
    node = helper.make_node(tail.split("-")[0], inputs, ["y"])
    shape = (4,) if host == "BatchNormalization" else (4, 4, 3, 3)
    names = {"s": weight(4), "b": weight(4), "mean": weight(4), "var": weight(4)}
    path = save(
        [HOSTS[host], NORM if tail == "BatchNormalization" else node],
        {"x": [2, 4, 4, 4]},
        {"y": [2, 4, 4, 4]},
        {"w": weight(*shape), "c": weight(*constant), **names},
    )
    graph = equivalent(path, {"x": weight(2, 4, 4, 4)})
    assert [layer.op_types for layer in graph.layers] == [(host,)]


@pytest.mark.parametrize(
    ("constant", "group", "output"),
    [((4,), 1, "y"), ((4, 1), 1, "y"), ((1, 4, 1, 4), 1, "y"), ((4, 1, 1), 1, "t"), ((), 2, "t")],
)
def test_what_is_not_by_channel_stays(save, equivalent, constant, group, output):
    """A vector along the width has as many values as there are channels here."""
    host = helper.make_node("Conv", ["x", "w"], ["t"], pads=[1, 1, 1, 1], group=group)
    mul = helper.make_node("Mul", ["t", "c"], ["y"])
    path = save(
        [host, mul],
        {"x": [1, 4, 4, 4]},
        {name: [1, 4, 4, 4] for name in dict.fromkeys(["y", output])},
        {"w": weight(4, 4 // group, 3, 3), "c": weight(*constant)},
    )
    graph = equivalent(path, {"x": weight(1, 4, 4, 4)})
    assert [op for layer in graph.layers for op in layer.op_types] == ["Conv", "Mul"]


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [None, (), (5,), (1, 5), (3, 5)])
def test_gemm(save, equivalent, transposed, bias):
    inputs = ["x", "w"] if bias is None else ["x", "w", "bias"]
    weights = {"w": weight(*((5, 4) if transposed else (4, 5))), "c": weight(5)}
    path = save(
        [
            helper.make_node("Gemm", inputs, ["t"], transB=transposed),
            helper.make_node("Mul", ["t", "c"], ["y"]),
        ],
        {"x": [3, 4]},
        {"y": [3, 5]},
        weights | ({} if bias is None else {"bias": weight(*bias)}),
    )
    graph = equivalent(path, {"x": weight(3, 4)})
    assert graph.layers[0].op_types == (("Gemm", "Mul") if bias == (3, 5) else ("Gemm",))


def test_shared_weights_are_not_changed(save, equivalent):
    path = save(
        [
            helper.make_node("Conv", ["x", "w"], ["t"]),
            helper.make_node("Mul", ["t", "c"], ["y"]),
            helper.make_node("Conv", ["x", "w"], ["z"]),
        ],
        {"x": [1, 4, 4, 4]},
        {"y": [1, 4, 4, 4], "z": [1, 4, 4, 4]},
        {"w": weight(4, 4, 1, 1), "c": weight(4, 1, 1)},
    )
    assert len(equivalent(path, {"x": weight(1, 4, 4, 4)}).layers) == 2
