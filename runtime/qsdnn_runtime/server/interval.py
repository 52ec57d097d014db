"""Confidence interval of a median from order statistics: exact, for any distribution."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from statistics import median
from typing import Sequence, Tuple

CONFIDENCE = 0.95


@lru_cache(maxsize=None)
def interval_rank(count: int, confidence: float = CONFIDENCE) -> int:
    """The k for which the k-th smallest and k-th largest of the samples hold the median.

    Of n independent samples, the number below the true median is binomial(n, 1/2), so
    [x(k), x(n+1-k)] covers it with probability 1 - 2 P(B < k). The largest k that reaches the
    confidence is taken (H. A. David, H. N. Nagaraja: Order Statistics, 7.1).

    Returns:
        The rank, from 1; 0 when even the whole range does not reach the confidence
        (fewer than six samples, at 95 %).
    """
    # In whole numbers: 2**count is no float beyond 1023 samples.
    allowed = (1 - Fraction(confidence).limit_denominator(10**6)) / 2 * 2**count
    choose, outside, rank = 1, 1, 0
    while outside <= allowed:
        rank += 1
        choose = choose * (count - rank + 1) // rank
        outside += choose
    return rank


def median_interval(samples: Sequence[float]) -> Tuple[float, float]:
    """The 95 % interval of the median; the samples' whole range when they are too few for one.

    Args:
        samples: The samples, at least one.
    """
    ordered = sorted(samples)
    rank = max(interval_rank(len(ordered)), 1)
    return ordered[rank - 1], ordered[-rank]


def relative_spread(samples: Sequence[float]) -> float:
    """The distance from the median to the farther end of its interval, as a share of the median."""
    low, high = median_interval(samples)
    middle = median(samples)
    return max(high - middle, middle - low) / middle if middle > 0 else 0.0


def is_precise(samples: Sequence[float], precision: float) -> bool:
    """Whether there is a 95 % interval, and it lies within `precision`, a share of the median."""
    return interval_rank(len(samples)) > 0 and relative_spread(samples) <= precision
