"""int8 in the engine litert: what stays in integers, and what the integers are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from qsdnn.errors import BuildError
from qsdnn.model.calibration import Calibration
from qsdnn.model.layer import Graph
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.litert import ENGINE
from qsdnn_primitives.litert.graph import whole
from qsdnn_primitives.litert.program import Operator
from tests.unit.primitives.test_litert import INFO, XNNPACK, segment_of
from tests.unit.primitives.test_ncnn import graph_of, model_of, node

INT8 = Primitive(
    engine="litert",
    algorithm="xnnpack",
    precision=Precision.INT8,
    family="litert/xnnpack",
    format="s8",
)
RANGES = {"x": (-1.0, 3.0), "a": (-2.0, 2.0), "r": (0.0, 2.0), "p": (0.0, 1.5), "y": (-8.0, 8.0)}


def operators(
    graph: Graph, *choices: Primitive, ranges: dict[str, tuple[float, float]] | None = None
) -> list[Operator]:
    calibration = Calibration(method="minmax", ranges=RANGES if ranges is None else ranges)
    segment = dataclasses.replace(segment_of(graph, *choices), calibration=calibration)
    return list(whole(segment).operators)


def chain(folder: Path, *between: onnx.NodeProto) -> Graph:
    nodes = [node("Conv", "x w", "a"), *between, node("Conv", f"{between[-1].output[0]} v")]
    return graph_of(model_of(nodes, (1, 4, 9, 9), {"w": (8, 4, 1, 1), "v": (8, 8, 1, 1)}), folder)


def choices(graph: Graph, *layers: int) -> list[Primitive]:
    return [INT8 if layer.index in layers else XNNPACK for layer in graph.layers]


def kinds(found: list[Operator]) -> list[str]:
    return [operator.kind for operator in found if operator.kind != "TRANSPOSE"]


def test_between_integers_a_tensor_stays_integers(tmp_path: Path) -> None:
    pool = node("MaxPool", "r", "p", kernel_shape=[3, 3])
    graph = chain(tmp_path, node("Relu", "a", "r"), pool)
    found = operators(graph, *choices(graph, 0, 2))
    assert kinds(found) == ["QUANTIZE", "CONV_2D", "MAX_POOL_2D", "CONV_2D", "DEQUANTIZE"]
    pooled = next(operator for operator in found if operator.kind == "MAX_POOL_2D")
    assert {t.dtype for t in (*pooled.inputs, *pooled.outputs) if t is not None} == {"int8"}
    before, behind = pooled.inputs[0], pooled.outputs[0]
    assert before is not None and before.quantization == behind.quantization


def test_a_layer_in_floats_reads_floats(tmp_path: Path) -> None:
    graph = chain(tmp_path, node("Tanh", "a", "r"))
    found = operators(graph, *choices(graph, *(layer.index for layer in graph.layers)))
    assert kinds(found) == [
        *("QUANTIZE", "CONV_2D", "DEQUANTIZE", "TANH", "QUANTIZE", "CONV_2D", "DEQUANTIZE")
    ]
    found = operators(graph, *choices(graph, len(graph.layers) - 1))
    assert kinds(found) == ["CONV_2D", "TANH", "QUANTIZE", "CONV_2D", "DEQUANTIZE"]
    assert kinds(operators(graph, *choices(graph))) == ["CONV_2D", "TANH", "CONV_2D"]


def test_integers_span_the_ranges_and_channels_have_scales(tmp_path: Path) -> None:
    graph = chain(tmp_path, node("Relu", "a", "r"))
    first, *_ = [
        operator for operator in operators(graph, *choices(graph, 0)) if operator.kind == "CONV_2D"
    ]
    data, weights, bias = first.inputs
    assert data is not None and weights is not None and bias is not None
    assert data.quantization is not None and weights.quantization is not None
    low, high = (
        (end - data.quantization.zero_point) * data.quantization.scales[0] for end in (-128, 127)
    )
    assert low == pytest.approx(-1, abs=0.02) and high == pytest.approx(3, abs=0.02)
    assert weights.quantization.scales.shape == (8,) and weights.quantization.axis == 0
    assert weights.data is not None and bias.data is not None and bias.quantization is not None
    integers = weights.data.array()
    assert integers.dtype == np.int8 and (np.abs(integers.reshape(8, -1)).max(axis=1) == 127).all()
    assert bias.dtype == "int32" and bias.data.array().dtype == np.int32
    product = weights.quantization.scales * data.quantization.scales
    np.testing.assert_allclose(bias.quantization.scales, product, rtol=1e-6)


def test_a_range_that_is_missing_is_told(tmp_path: Path) -> None:
    graph = chain(tmp_path, node("Relu", "a", "r"))
    with pytest.raises(BuildError, match="no range of tensor 'r'"):
        operators(graph, *choices(graph, 0), ranges={"x": (-1.0, 1.0)})


def test_what_has_no_product_is_not_offered_integers(tmp_path: Path) -> None:
    for kind, reads in (("Relu", "x"), ("Add", "x x"), ("MatMul", "x x")):
        graph = graph_of(model_of([node(kind, reads)], (4, 4), {}), tmp_path)
        offered = ENGINE.primitives(graph.layers[0], INFO)
        assert {primitive.precision for primitive in offered} == {Precision.FP32}


def test_what_a_layer_in_floats_gives_is_rounded_for_readers_in_integers_alone(
    tmp_path: Path,
) -> None:
    nodes = [
        node("Tanh", "x", "r"),
        node("Conv", "r w", "a"),
        node("MaxPool", "r", "p", kernel_shape=[1, 1]),
        node("Add", "a p"),
    ]
    model = model_of(nodes, (1, 8, 9, 9), {"w": (8, 8, 1, 1)})
    graph = graph_of(model, tmp_path)
    convolution = next(layer.index for layer in graph.layers if "Conv" in layer.op_types)
    found = operators(graph, *choices(graph, convolution))
    pool = next(operator for operator in found if operator.kind == "MAX_POOL_2D")
    assert pool.inputs[0] is not None and pool.inputs[0].dtype == "float32"
