"""onnxruntime's host half."""

from qsdnn.engine import Engine, EngineInfo
from qsdnn.graph.layer import Layer
from qsdnn_primitives.onnxruntime import ENGINE


def _layer(pinned=""):
    return Layer(index=0, name="a", kind="conv", nodes=(), inputs=(), outputs=(), pinned=pinned)


def _names(layer, *capabilities):
    info = EngineInfo(name="onnxruntime", version="1", capabilities=capabilities)
    return [(str(p), p.family) for p in ENGINE.primitives(layer, info)]


def test_each_layer_may_take_both_algorithms():
    assert isinstance(ENGINE, Engine)
    both = [
        ("onnxruntime/nchwc/fp32", "onnxruntime/nchwc"),
        ("onnxruntime/gemm/fp32", "onnxruntime/gemm"),
    ]
    for layer in (_layer(), _layer(pinned="Loop is control flow")):
        assert _names(layer) == _names(layer, "FP32", "NCHWC") == both


def test_a_board_without_the_blocked_layout_has_one():
    assert _names(_layer(), "FP32") == [("onnxruntime/gemm/fp32", "onnxruntime/gemm")]
