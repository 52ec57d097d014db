"""The interval of the median: its coverage is computed exactly, not sampled."""

from __future__ import annotations

from fractions import Fraction
from math import comb
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn_runtime.server.interval import (
    interval_rank,
    is_precise,
    median_interval,
    relative_spread,
)

SAMPLES = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=80)


def coverage(count: int, rank: int) -> Fraction:
    """Probability that [x(rank), x(count + 1 - rank)] holds the median."""
    inside = sum(comb(count, below) for below in range(rank, count - rank + 1))
    return Fraction(inside, 2**count)


@pytest.mark.parametrize("count", [*range(1, 60), 200, 2000])
def test_the_rank_is_the_narrowest_that_covers_95_percent(count):
    rank = interval_rank(count)
    wanted = Fraction(95, 100)
    if rank == 0:
        assert count < 6 and coverage(count, 1) < wanted
    else:
        assert coverage(count, rank) >= wanted > coverage(count, rank + 1)


@given(SAMPLES)
def test_the_interval_holds_the_median_and_lies_within_the_samples(samples):
    low, high = median_interval(samples)
    assert min(samples) <= low <= median(samples) <= high <= max(samples)


@given(SAMPLES, st.randoms(use_true_random=False), st.sampled_from([0.5, 2.0, 8.0]))
def test_the_interval_follows_order_preserving_changes(samples, random, factor):
    low, high = median_interval(samples)
    shuffled = random.sample(samples, len(samples))
    assert median_interval(shuffled) == (low, high)
    assert median_interval([value * factor for value in samples]) == (low * factor, high * factor)


@given(SAMPLES, SAMPLES)
def test_slower_samples_have_no_lower_interval(samples, more):
    slower = [value + extra for value, extra in zip(samples, more, strict=False)]
    before, after = median_interval(samples[: len(slower)]), median_interval(slower)
    assert before[0] <= after[0] and before[1] <= after[1]


def test_precise_needs_an_interval_and_a_narrow_one():
    assert not is_precise([1.0] * 5, 0.01)
    assert is_precise([1.0] * 6, 0.01)
    assert relative_spread([1.0, 1.0, 1.0, 1.0, 1.0, 1.5]) == 0.5
    assert not is_precise([1.0, 1.0, 1.0, 1.0, 1.0, 1.5], 0.49)
