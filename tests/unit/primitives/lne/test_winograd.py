"""Winograd's minimal filtering: exact matrices, and errors within what is stated."""

import numpy as np
import pytest

from qsdnn_primitives.lne.winograd import TRANSFORMS, matrices, transformed

ERRORS = {(2, 3): 2e-6, (4, 3): 1.5e-5, (6, 3): 5e-5, (4, 5): 1.5e-5}
"""The largest error in single precision, of the largest magnitude, with 256 channels."""


@pytest.mark.parametrize(("m", "r"), TRANSFORMS)
def test_the_matrices_make_a_convolution_exactly(m, r):
    back, weights, inputs = matrices(m, r)
    for tap in range(r):  # linear in both: unit vectors prove it for all
        for place in range(m + r - 1):
            products = [row[tap] * line[place] for row, line in zip(weights, inputs, strict=True)]
            made = [sum(c * p for c, p in zip(row, products, strict=True)) for row in back]
            assert made == [int(place == tap + i) for i in range(m)]


@pytest.mark.parametrize(("m", "r"), TRANSFORMS)
def test_the_error_is_as_stated(m, r):
    rng = np.random.default_rng(m)
    n, channels = m + r - 1, 256
    w = rng.standard_normal((8, channels, r, r)).astype(np.float32) / np.float32(r * 16)
    x = np.maximum(rng.standard_normal((channels, n, n)), 0).astype(np.float32)
    back, _, inputs = (np.array(matrix, np.float32) for matrix in matrices(m, r))
    v = np.einsum("ai,cij,bj->abc", inputs, x, inputs, optimize=True).astype(np.float32)
    planes = transformed(w, m).astype(np.float32).reshape(n, n, channels, 8)
    products = np.einsum("abco,abc->oab", planes, v).astype(np.float32)
    made = np.einsum("ia,oab,jb->oij", back, products, back, optimize=True)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(float), (r, r), axis=(1, 2))
    want = np.einsum("ocij,cklij->okl", w.astype(float), windows, optimize=True)
    assert np.abs(made - want).max() / np.abs(want).max() < ERRORS[m, r]
