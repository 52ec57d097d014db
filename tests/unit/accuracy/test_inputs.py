"""The split: what calibrates never decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn.accuracy.inputs import Inputs, halves
from qsdnn.errors import InputError


def numbered(count: int, batch: int = 1, labels: np.ndarray | None = None) -> Inputs:
    """Samples that say their own number."""
    arrays = {"x": np.arange(count, dtype=np.float32)[:, None]}
    return Inputs(arrays=arrays, batch=batch, labels=labels, source="a.npz")


def numbers(inputs: Inputs) -> set[int]:
    return set(inputs.arrays["x"].ravel().astype(int).tolist())


@given(st.integers(2, 60), st.integers(0, 5), st.integers(0, 99))
def test_halves_share_nothing_and_leave_less_than_a_batch_each(count, batch, seed):
    if count < 2 * max(batch, 1):
        return
    a, b = halves(numbered(count, batch), seed)
    whole = max(batch, 1)
    assert not numbers(a) & numbers(b)
    assert a.samples % whole == b.samples % whole == 0
    assert min(a.samples, b.samples) >= whole
    assert count - a.samples - b.samples <= 2 * (whole - 1)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=80), st.integers(0, 9))
def test_each_half_has_as_many_of_each_label(drawn, seed):
    labels = np.array(drawn)
    a, b = halves(numbered(len(drawn), labels=labels), seed)
    for label in set(drawn):
        assert abs(int((a.labels == label).sum()) - int((b.labels == label).sum())) <= 1
    for half in (a, b):
        np.testing.assert_array_equal(half.labels, labels[sorted_numbers(half)])


def sorted_numbers(half: Inputs) -> np.ndarray:
    return half.arrays["x"].ravel().astype(int)


def test_a_seed_fixes_the_split():
    inputs = numbered(40, labels=np.arange(40) % 3)
    assert halves(inputs, 1)[1].digest == halves(inputs, 1)[1].digest
    assert numbers(halves(inputs, 1)[1]) != numbers(halves(inputs, 2)[1])


def test_the_first_samples_of_a_half_are_of_many_labels():
    """Not all of the first label: callers take some from the front."""
    half, _ = halves(numbered(1000, labels=np.arange(1000) // 100))
    assert half.labels is not None and len(set(half.labels[:50].tolist())) >= 8


@pytest.mark.parametrize(("count", "batch"), [(1, 1), (1, 0), (7, 4)])
def test_too_few_are_said(count, batch):
    with pytest.raises(InputError, match=f"at least {2 * max(batch, 1)} are needed"):
        halves(numbered(count, batch))
