"""Values on the wire, and how far outputs are from a reference."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from qsdnn_runtime.frames import FrameError
from qsdnn_runtime.program.values import max_error, pack_values, unpack_values

NUMBERS = nps.arrays(
    st.one_of(
        nps.boolean_dtypes(),
        nps.integer_dtypes(endianness="="),
        nps.floating_dtypes(endianness="=", sizes=(16, 32, 64)),
        nps.complex_number_dtypes(endianness="=", sizes=(64, 128)),
    ),
    nps.array_shapes(min_dims=0, min_side=0, max_side=3),
)
TEXTS = st.lists(st.text(), max_size=3).map(lambda texts: np.array(texts, object))
VALUES = st.recursive(
    NUMBERS | TEXTS | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_values_survive_the_wire_and_do_not_differ_from_themselves(values):
    descriptions, pieces = pack_values(values)
    back = unpack_values(json.loads(json.dumps(descriptions)), b"".join(pieces))
    assert max_error(back, values) == 0.0
    assert all(array.flags.writeable for array in back.values() if isinstance(array, np.ndarray))


def test_values_in_another_memory_order_arrive_in_theirs():
    value = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)[::2]
    descriptions, pieces = pack_values({"x": value})
    np.testing.assert_array_equal(unpack_values(descriptions, b"".join(pieces))["x"], value)


@pytest.mark.parametrize(
    "descriptions",
    [
        {"x": {"dtype": "<f4", "shape": [3]}},
        {"x": {"dtype": "<f4", "shape": [1]}},
        {"x": {"dtype": "<f4", "shape": [-1, -2]}},
        {"x": {"dtype": "|O", "shape": [1]}},
        {"x": {"dtype": "no such", "shape": [1]}},
        {"x": {"shape": [1]}},
        {"x": "text"},
        {"x": {"dtype": "str", "shape": [1], "size_bytes": 8}},
    ],
)
def test_malformed_descriptions_are_refused(descriptions):
    with pytest.raises(FrameError):
        unpack_values(descriptions, b"\0" * 8)


def test_objects_are_not_sent():
    with pytest.raises(FrameError, match="x: values of type object"):
        pack_values({"x": np.array([object()])})


@given(
    nps.arrays(np.float32, (2, 3), elements=st.floats(-1e3, 1e3, width=32)),
    nps.arrays(np.float32, (2, 3), elements=st.floats(-1e3, 1e3, width=32)),
    st.sampled_from([2.0**-10, 1.0, 2.0**10]),
)
def test_the_error_is_relative_to_the_largest_magnitude(got, want, scale):
    want[0, 0] = 1e3
    expected = np.abs(got.astype(float) - want).max() / np.abs(want).max()
    found = max_error({"y": got * np.float32(scale)}, {"y": want * np.float32(scale)})
    assert found == pytest.approx(expected, rel=1e-5)
    assert max_error({"y": got, "z": want}, {"y": want, "z": want}) == pytest.approx(expected)


FLOATS = np.array([1.0, 2.0], np.float32)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (FLOATS, FLOATS.astype(np.float64)),
        (FLOATS, FLOATS[None]),
        (FLOATS, np.array([1.0, np.nan], np.float32)),
        (np.array([1.0, np.inf], np.float32), FLOATS),
        (np.array([1.0, -np.inf], np.float32), np.array([1.0, np.inf], np.float32)),
        (np.array([1, 2]), np.array([1, 3])),
        (np.array([1, 2], np.int32), np.array([1, 2], np.int64)),
        (np.array(["a"], object), np.array(["b"], object)),
        ([FLOATS], [FLOATS, FLOATS]),
        (None, FLOATS),
    ],
)
def test_what_only_equality_will_do_for_is_infinitely_wrong(got, want):
    assert max_error({"y": got}, {"y": want}) == math.inf
    assert max_error({}, {"y": want}) == math.inf
