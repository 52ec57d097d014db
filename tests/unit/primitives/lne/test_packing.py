"""Weights in the order that kernels read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsdnn_primitives.lne.packing import (
    cut,
    join_groups,
    joined_groups,
    pack_depthwise,
    pack_tiles,
    pack_winograd,
)
from qsdnn_primitives.lne.shape import band_of, chunk_of, pixels_of, tile_of
from qsdnn_primitives.lne.source import source
from qsdnn_primitives.lne.tiles import LARGEST
from qsdnn_primitives.lne.winograd import transformed


@given(st.integers(1, 300), st.integers(1, 30))
def test_a_row_is_cut_evenly(width, most):
    sizes = cut(width, most)
    assert sum(sizes) == width and max(sizes) <= most and max(sizes) - min(sizes) <= 1


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.sampled_from([(1, 1), (3, 2)]), st.integers(1, 4))
def test_tiles_read_every_weight_in_order(outputs, inputs, window, group):
    lanes = 8
    w = np.arange(outputs * inputs * window[0] * window[1], dtype=np.float32) + 1
    w = w.reshape(outputs, inputs, *window)
    packed = iter(np.concatenate(list(pack_tiles(w, lanes, group))).tolist())
    blocks, start = -(-outputs // lanes), 0
    for size in cut(blocks, group):
        for block in range(0, inputs, lanes):
            for i in range(window[0]):
                for j in range(window[1]):
                    for c in range(block, min(block + lanes, inputs)):
                        for o in range(start * lanes, (start + size) * lanes):
                            want = w[o, c, i, j] if o < outputs else 0
                            assert next(packed) == want
        start += size
    assert next(packed, None) is None


@pytest.mark.parametrize(("groups", "inputs", "outputs"), [(2, 3, 5), (4, 2, 4), (3, 8, 8)])
def test_groups_that_are_no_whole_blocks_are_joined(groups, inputs, outputs):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((groups * outputs, inputs, 1, 1)).astype(np.float32)
    x = rng.standard_normal(groups * inputs).astype(np.float32)
    joined = joined_groups(groups, inputs, outputs, 8)
    dense, left = join_groups(w, groups, joined), groups // joined
    assert left == 1 or (dense.shape[0] // left % 8 == 0 and dense.shape[1] % 8 == 0)
    want = np.concatenate(
        [w[g * outputs : (g + 1) * outputs, :, 0, 0] @ x[g * inputs : (g + 1) * inputs]
         for g in range(groups)]
    )  # fmt: skip
    size, made = dense.shape[1], dense.shape[0] // left
    got = np.concatenate(
        [dense[g * made : (g + 1) * made, :, 0, 0] @ x[g * size : (g + 1) * size]
         for g in range(left)]
    )  # fmt: skip
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_depthwise_weights_lie_by_blocks():
    w = np.arange(10 * 9, dtype=np.float32).reshape(10, 1, 3, 3)
    packed = pack_depthwise(w, 8).reshape(2, 3, 3, 8)
    assert packed[1, 2, 1, 1] == w[9, 0, 2, 1] and packed[1, 0, 0, 2] == 0


@given(
    st.sampled_from(sorted(LARGEST)), st.integers(1, 300), st.integers(1, 64), st.integers(1, 512)
)
def test_a_tile_fits_the_registers(lanes, width, blocks, channels):
    pixels, group = tile_of(width, blocks, channels, lanes)
    assert pixels <= LARGEST[lanes][group - 1]
    assert pixels_of(width, group, channels, lanes) <= LARGEST[lanes][group - 1]


@given(st.integers(1, 1 << 20), st.integers(1, 500))
def test_bands_and_chunks_are_of_something(floats, units):
    assert 0 <= band_of(floats, units, 1 << 17) < max(units, 1)
    assert 1 <= chunk_of(4, 3, units, 64, 64, 1 << 17) <= units


@pytest.mark.parametrize("lanes", sorted(LARGEST))
def test_the_source_is_the_same_whenever_it_is_made(lanes):
    made = source(lanes)
    source.cache_clear()
    assert source(lanes) == made and '#include "' not in made


@pytest.mark.parametrize(("outputs", "inputs", "group"), [(20, 7, 2), (64, 16, 4), (8, 5, 3)])
def test_winograd_s_planes_are_tiles(outputs, inputs, group):
    w = np.random.default_rng(0).standard_normal((outputs, inputs, 3, 3)).astype(np.float32)
    planes = transformed(w, 4).astype(np.float32)
    want = [part for plane in planes for part in pack_tiles(plane.T[:, :, None, None], 8, group)]
    np.testing.assert_allclose(pack_winograd(w, 8, group, 4), np.concatenate(want), rtol=1e-6)
