"""The taps of resized images."""

import numpy as np
import pytest

from qsdnn_primitives.lne.resampling import taps
from qsdnn_primitives.plain.node import UnsupportedError


def _attributes(mode, coordinates="half_pixel", rounding="round_prefer_floor"):
    return {
        "mode": mode, "coordinates": coordinates, "rounding": rounding, "coefficient": -0.75,
    }  # fmt: skip


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize(
    "coordinates", ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]
)
@pytest.mark.parametrize(("size", "out"), [(5, 13), (13, 5), (7, 1), (1, 4), (6, 6)])
def test_weights_are_one_in_sum_and_places_are_inside(mode, coordinates, size, out):
    found = taps(size, out, out / size, _attributes(mode, coordinates))
    assert found.shape[0] == out
    np.testing.assert_allclose(found[..., 1].sum(axis=1), 1, atol=1e-6)
    assert found[..., 0].min() >= 0 and found[..., 0].max() <= size - 1


def test_what_keeps_its_size_is_copied():
    found = taps(6, 6, 1.0, _attributes("cubic", "align_corners"))
    np.testing.assert_array_equal(found[:, 0], [[i, 1] for i in range(6)])


@pytest.mark.parametrize(
    ("rounding", "want"),
    [
        ("floor", [0, 2, 4]), ("ceil", [1, 3, 5]), ("round_prefer_floor", [0, 2, 4]),
        ("round_prefer_ceil", [1, 3, 5]), ("simple", [1, 3, 5]),
    ],
)  # fmt: skip
def test_ties(rounding, want):
    found = taps(6, 3, 0.5, _attributes("nearest", rounding=rounding))  # at 0.5, 2.5, 4.5
    np.testing.assert_array_equal(found[:, 0, 0], want)


@pytest.mark.parametrize(
    "attributes",
    [
        _attributes("nearest", "tf_crop_and_resize"),
        _attributes("nearest", rounding="half_even"),
        _attributes("lanczos"),
    ],
)
def test_what_is_unknown_is_refused(attributes):
    with pytest.raises(UnsupportedError):
        taps(6, 3, 0.5, attributes)
