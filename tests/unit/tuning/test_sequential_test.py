"""The sequential test: wrong decisions are as rare as it says, however often one looks."""

from itertools import pairwise
from math import comb

import numpy as np
import pytest

from qsdnn.tuning.rounds.sequential_test import (
    ALPHA,
    MARGIN,
    Decision,
    SequentialTest,
    log_evidence,
    turn_ratios,
)


def _first_verdict(rng, ratio, rank=1, looks=40, runs=10):
    """Looks after every few runs, and stops at the first verdict."""
    test = SequentialTest(rank=rank)
    for _ in range(looks):
        drift = rng.lognormal(0, 0.3)  # the machine's, common to both
        other = 5 * drift * rng.lognormal(0, 0.03, runs)
        challenger = 5 * ratio * drift * rng.lognormal(0, 0.03, runs)
        test.add(challenger, other)
        if test.decision is not Decision.OPEN:
            return test.decision
    return Decision.OPEN


@pytest.mark.slow
def test_equal_plans_are_rarely_called_faster():
    rng = np.random.default_rng(0)
    wrong = sum(_first_verdict(rng, MARGIN) is Decision.FASTER for _ in range(400))
    # α/2 for the first challenger: of 400 not more than 10 expected, 21 have a chance of 0.1 %.
    assert wrong <= 21


@pytest.mark.slow
def test_many_challengers_of_one_search_share_the_chance_of_error():
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(60):
        verdicts = [_first_verdict(rng, MARGIN, rank, looks=10) for rank in range(1, 21)]
        wrong += Decision.FASTER in verdicts
    assert wrong / 60 <= 2 * ALPHA


@pytest.mark.parametrize(("ratio", "verdict"), [(0.95, Decision.FASTER), (1.05, Decision.SLOWER)])
def test_a_difference_is_found(ratio, verdict):
    rng = np.random.default_rng(2)
    assert all(_first_verdict(rng, ratio, rank=20) is verdict for _ in range(50))


def test_evidence_of_nothing_is_none_and_grows_with_wins():
    assert log_evidence(0, 0) == pytest.approx(0)
    grown = [log_evidence(wins, 5) for wins in range(40)]
    assert all(a < b for a, b in pairwise(grown))
    # In expectation the evidence of a fair coin is 1 or less: here summed over all of 12 tosses.
    mean = sum(comb(12, w) / 2**12 * np.exp(log_evidence(w, 12 - w)) for w in range(13))
    assert mean <= 1 + 1e-9


def test_runs_of_one_turn_are_one_pair():
    short = np.full(20, 0.5)
    assert len(turn_ratios(short, short)) == 5
    assert len(turn_ratios(20 * short, 20 * short)) == 5
    assert len(turn_ratios(50 * short, 50 * short)) == 20
    assert len(turn_ratios([], [1.0])) == 0
