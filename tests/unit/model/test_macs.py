"""Counts, against loops written out by numpy on random shapes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from qsdnn.model import load_graph
from qsdnn.model.workload import macs

SIZES = st.integers(1, 5)


def node(op: str, inputs: list[tuple[int, ...]], output: tuple[int, ...], **attributes) -> ir.Node:
    values = [ir.val(f"i{k}", ir.DataType.FLOAT, shape) for k, shape in enumerate(inputs)]
    return ir.node(op, values, attributes, outputs=[ir.val("o", ir.DataType.FLOAT, output)])


@given(SIZES, SIZES, SIZES, SIZES, SIZES)
def test_products(batch, m, n, k, heads):
    assert macs(node("MatMul", [(batch, heads, m, k), (k, n)], (batch, heads, m, n))) == (
        batch * heads * m * n * k
    )
    assert macs(node("MatMul", [(k,), (k,)], ())) == k
    assert macs(node("Gemm", [(k, m), (k, n), (n,)], (m, n), transA=1)) == m * n * k
    assert macs(node("Gemm", [(m, k), (n, k)], (m, n), transB=1)) == m * n * k


@given(SIZES, SIZES, SIZES, SIZES, SIZES)
def test_einsum_counts_its_loops(b, h, i, j, d):
    shapes = [(b, h, i, d), (b, h, j, d)]
    for equation in ("bhid,bhjd->bhij", "...id,...jd->...ij", "bhid, bhjd -> bhij"):
        assert macs(node("Einsum", shapes, (b, h, i, j), equation=equation)) == b * h * i * j * d
    assert macs(node("Einsum", [(i, j)], (j, i), equation="ij->ji")) == 0


@given(SIZES, SIZES, st.integers(1, 3), st.integers(1, 3), SIZES)
def test_convolutions(inputs, outputs, groups, kernel, size):
    """Convolution: each output reads a kernel; transposed: each input writes one."""
    big, small = size + kernel - 1, size
    x, y = (1, groups * inputs, big, big), (1, groups * outputs, small, small)
    expected = np.prod(y) * inputs * kernel**2
    weight = (groups * outputs, inputs, kernel, kernel)
    assert macs(node("Conv", [x, weight], y, group=groups)) == expected
    assert macs(node("ConvTranspose", [y, weight], x, group=groups)) == expected


def test_the_rest_and_the_unknown_count_nothing():
    assert macs(node("Softmax", [(2, 3)], (2, 3))) == 0
    assert macs(ir.node("MatMul", [ir.val("a"), ir.val("b")])) == 0


@pytest.mark.parametrize("scalar", [(), (1,)])
def test_parameters_are_trained_weights(save, scalar):
    """Shapes and scalars are no parameters; a PRelu's one slope is."""
    path = save(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["t"]),
            helper.make_node("PRelu", ["t", "slope"], ["r"]),
            helper.make_node("Reshape", ["r", "shape"], ["y"]),
        ],
        {"x": [1, 3, 4, 4]},
        {"y": [1, 32]},
        {
            "w": np.ones((2, 3, 1, 1), np.float32),
            "b": np.ones(2, np.float32),
            "slope": np.full(scalar, 0.5, np.float32),
            "shape": np.array([1, 32]),
        },
    )
    (layer,) = load_graph(path).layers
    assert layer.parameters == 8 + len(scalar)
    assert layer.parameter_bytes == 4 * layer.parameters
    assert layer.activation_bytes == 4 * 32
    assert layer.macs == 16 * 6
