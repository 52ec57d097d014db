"""The blas engine's convolutions and pools, host and board half together, against onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.runtime.blas_case import RANDOM, Arrays, check_every_primitive, draw, one_node


@st.composite
def convolutions(draw_: st.DrawFn, group_kind: str) -> tuple[onnx.ModelProto, Arrays]:
    """Any 2-D Conv: sizes, strides, dilations and paddings of each dimension on their own."""
    small = st.integers(1, 3)
    groups = 1 if group_kind == "dense" else draw_(st.integers(2, 4))
    each = 1 if group_kind == "depthwise" else draw_(small)
    channels, filters = groups * each, groups * draw_(small)
    kernel = draw_(st.tuples(st.integers(1, 5), st.integers(1, 4)))
    strides, dilations = draw_(st.tuples(small, small)), draw_(st.tuples(small, small))
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    attributes: dict[str, Any] = {"strides": strides, "dilations": dilations, "group": groups}
    auto_pad = draw_(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto_pad == "NOTSET":
        attributes["pads"] = draw_(st.tuples(*[st.integers(0, 3)] * 4))
    else:
        attributes["auto_pad"] = auto_pad
    if auto_pad.startswith("SAME"):
        attributes["dilations"], span = (1, 1), list(kernel)
    size = [s + draw_(st.integers(0, 9)) for s in span]
    x = draw(draw_(st.integers(1, 2)), channels, *size)
    operands = [x, draw(filters, channels // groups, *kernel)]
    if draw_(st.booleans()):
        operands.append(draw(filters))
    return one_node("Conv", operands, range(1, len(operands)), **attributes)


@settings(max_examples=40, deadline=None)
@given(convolutions("dense"))
def test_convolution(case: tuple[onnx.ModelProto, Arrays]) -> None:
    check_every_primitive(*case)


@st.composite
def square_convolutions(draw_: st.DrawFn) -> tuple[onnx.ModelProto, Arrays]:
    """What tiles can run: sizes that they do not divide, paddings that differ at each side."""
    taps = draw_(st.sampled_from([3, 5, 7]))
    channels, filters = draw_(st.integers(1, 5)), draw_(st.integers(1, 5))
    size = [taps + draw_(st.integers(0, 20)) for _ in range(2)]
    pads = draw_(st.tuples(*[st.integers(0, taps)] * 4))
    operands = [
        draw(draw_(st.integers(1, 2)), channels, *size),
        draw(filters, channels, taps, taps),
    ]
    if draw_(st.booleans()):
        operands.append(draw(filters))
    return one_node("Conv", operands, range(1, len(operands)), pads=pads)


@settings(max_examples=40, deadline=None)
@given(square_convolutions())
def test_square_convolution(case: tuple[onnx.ModelProto, Arrays]) -> None:
    check_every_primitive(*case)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_pruned_convolution(kernel: int, stride: int) -> None:
    weights = draw(24, 16, kernel, kernel)
    weights[RANDOM.random(weights.shape) > 0.03] = 0  # whole filters among them
    operands = [draw(2, 16, 33, 30), weights, draw(24)]
    check_every_primitive(*one_node("Conv", operands, (1, 2), strides=[stride] * 2))


@settings(max_examples=20, deadline=None)
@given(convolutions("grouped"))
def test_grouped_convolution(case: tuple[onnx.ModelProto, Arrays]) -> None:
    check_every_primitive(*case)


@settings(max_examples=20, deadline=None)
@given(convolutions("depthwise"))
def test_depthwise_convolution(case: tuple[onnx.ModelProto, Arrays]) -> None:
    check_every_primitive(*case)


@pytest.mark.parametrize(
    ("x", "weights", "attributes"),
    [
        pytest.param((2, 3, 19), (4, 3, 5), {"pads": [2, 1], "dilations": [2]}, id="1-D"),
        pytest.param((1, 2, 5, 6, 7), (3, 2, 3, 2, 3), {"pads": [1] * 6}, id="3-D"),
        pytest.param((1, 40, 70, 65), (20, 40, 3, 3), {"pads": [1] * 4}, id="bands"),
        pytest.param((1, 40, 70, 65), (40, 1, 3, 3), {"pads": [1] * 4, "group": 40}, id="blocks"),
        pytest.param((1, 260, 40, 40), (300, 260, 3, 3), {}, id="kn2row bands"),
        pytest.param((1, 8, 90, 90), (70, 8, 5, 5), {"pads": [2] * 4}, id="tile bands"),
    ],
)
def test_convolution_of_other_sizes(
    x: Sequence[int], weights: Sequence[int], attributes: dict[str, Any]
) -> None:
    operands = [draw(*x), draw(*weights), draw(weights[0])]
    check_every_primitive(*one_node("Conv", operands, (1, 2), **attributes))


# --- Pools ----------------------------------------------------------------------------------------


@st.composite
def pools(draw_: st.DrawFn) -> tuple[onnx.ModelProto, Arrays]:
    """MaxPool and AveragePool, as onnxruntime takes them: padding below the kernel's size."""
    kernel = draw_(st.tuples(st.integers(2, 4), st.integers(2, 4)))
    pads = [draw_(st.integers(0, k - 1)) for k in kernel * 2]
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "pads": pads,
        "strides": draw_(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "ceil_mode": draw_(st.integers(0, 1)),
    }
    op_type = draw_(st.sampled_from(["MaxPool", "AveragePool"]))
    if op_type == "AveragePool":
        attributes["count_include_pad"] = draw_(st.integers(0, 1))
    else:
        attributes["dilations"] = draw_(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    size = draw_(st.tuples(st.integers(7, 12), st.integers(7, 12)))
    for axis, (n, k) in enumerate(zip(size, kernel, strict=True)):
        # Where ceil_mode adds a window in the padding, ONNX and onnxruntime differ on its count.
        span = (k - 1) * attributes.get("dilations", (1, 1))[axis] + 1
        begin, end, stride = pads[axis], pads[axis + 2], attributes["strides"][axis]
        windows = -(-(n + begin + end - span) // stride) + 1
        assume(not attributes["ceil_mode"] or (windows - 1) * stride < n + begin)
    return one_node(op_type, [draw(draw_(st.integers(1, 2)), 3, *size)], **attributes)


@settings(max_examples=40, deadline=None)
@given(pools())
def test_pool(case: tuple[onnx.ModelProto, Arrays]) -> None:
    check_every_primitive(*case)
