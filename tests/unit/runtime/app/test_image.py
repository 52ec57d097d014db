"""Stages of images. What Pillow gives is in the tests as numbers where Pillow may be absent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsdnn_runtime.app.image import (
    color,
    crop,
    grayscale,
    layout,
    normalize,
    region,
    resize,
    weights_of,
)
from qsdnn_runtime.app.stage import AppError, Sample


def picture(height=37, width=53, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return Sample(rng.integers(0, 256, (height, width, channels)).astype(np.uint8))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(1, 90))
def test_a_resized_image_is_pillow_s_within_one_step(height, width, rows, columns):
    image = pytest.importorskip("PIL.Image", reason="compares with Pillow")
    sample = picture(height, width)
    want = image.fromarray(sample.values).resize((columns, rows), image.Resampling.BILINEAR)
    found = resize(sample, (rows, columns)).values
    assert np.abs(found.astype(int) - np.asarray(want, int)).max() <= 1


@given(st.integers(1, 200), st.integers(1, 200))
def test_a_line_of_one_value_stays_one(size, made):
    weights = weights_of(size, made)
    assert weights.shape == (made, size) and (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)


def test_places_go_back_to_the_source():
    sample = crop(resize(picture(100, 200), (50, 80)), (40, 60))
    assert sample.values.shape == (40, 60, 3)
    corner = sample.to_source(np.array([[0.0, 0.0], [60.0, 40.0]]))
    np.testing.assert_allclose(corner, [[10 * 2.5, 5 * 2], [70 * 2.5, 45 * 2]])
    part = region(picture(100, 200), (20, 10, 60, 50), margin=0.25)
    assert part.values.shape == (60, 60, 3) and part.origin == (10.0, 0.0)
    np.testing.assert_array_equal(part.values, picture(100, 200).values[0:60, 10:70])


@pytest.mark.parametrize(
    ("keep", "scale", "border"),
    [("no", (2.0, 1.0), False), ("inside", (2.0, 2.0), True), ("cover", (1.0, 1.0), False)],
)
def test_proportions_are_kept_as_asked(keep, scale, border):
    white = Sample(np.full((40, 80, 3), 255, np.uint8))
    found = resize(white, (40, 40), keep=keep)
    assert found.values.shape == (40, 40, 3) and found.scale == pytest.approx(scale)
    assert ((found.values == 114).any()) == border
    assert keep != "cover" or found.origin == (20.0, 0.0)


def test_colours_and_numbers():
    sample = Sample(np.array([[[255, 0, 10]]], np.uint8))
    assert color(sample, "BGR").values.tolist() == [[[10, 0, 255]]]
    assert grayscale(sample).values.tolist() == [[[77]]]
    assert color(grayscale(sample)).values.tolist() == [[[77, 77, 77]]]
    found = normalize(sample, mean=[0.5, 0.5, 0.5], std=[0.5, 0.25, 0.5])
    np.testing.assert_allclose(found.values[0, 0], [1, -2, (10 / 255 - 0.5) / 0.5], rtol=1e-6)
    assert layout(found).values.shape == (1, 3, 1, 1)
    assert layout(found, "HWC").values.shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: crop(picture(), (60, 20)), "of 53×37 cannot be cropped to 20×60"),
        (lambda: resize(picture(), (0, 5)), "a size is a height and a width"),
        (lambda: resize(picture(), (5, 5), keep="all"), "keeps 'no', 'inside' or 'cover'"),
        (lambda: resize(normalize(picture()), (5, 5)), "resize before normalizing"),
        (lambda: normalize(picture(), mean=[0.1, 0.2]), "2 means"),
        (lambda: normalize(picture(), std=[0.0]), "std has a zero"),
        (lambda: layout(picture(), "NWHC"), "no layout of images"),
        (lambda: color(picture(), "RGA"), "RGB or BGR"),
        (lambda: region(picture(), (100, 100, 120, 120)), "no pixel lies in the box"),
        (lambda: crop(Sample(np.zeros((2, 3))), (1, 1)), "no image: values of shape"),
    ],
)
def test_what_does_not_fit_is_told(act, said):
    with pytest.raises(AppError, match=said):
        act()
