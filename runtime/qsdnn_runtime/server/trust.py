"""How far a measurement can be trusted: its median's interval, its noise; and when to repeat it."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from statistics import median
from typing import Any, Mapping, NamedTuple, Sequence, Tuple

from qsdnn_runtime.board.disturbance import is_contended, undisturbed
from qsdnn_runtime.protocol import Trust

CONFIDENCE = 0.95
# The temperature of the kernel's passive trip point on most boards, and the Raspberry Pi's first
# limit.
HOT_C = 80.0
THROTTLED_SHARE = 0.9
NOISY_SPREAD = 0.03
# A package this many times slower than the fastest of its group is not measured again for noise.
UNLIKELY_RATIO = 3.0
# After so many repeats in vain, the board counts as always noisy: one repeat less is made.
VAIN = 2


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


def judge(
    record: Mapping[str, Any], precision: float, readings: Sequence[Mapping[str, Any]] = ()
) -> Trust:
    """The trust in a measurement: ``throttled``, else ``disturbed``, ``noisy``, or ``stable``.

    Throttled: a throttle counter grew, the firmware or the kernel says at any time that it slows
    the board down, or cores run more than 10 % below their maximum while the board is hot.
    Disturbed: others took too much of the processor, see
    `qsdnn_runtime.board.disturbance.is_contended`.
    Noisy: the 95 % interval of the median reaches further from the median than 3 % and than three
    times the precision asked for; two runs or fewer say nothing, and are noisy.

    Args:
        record: The record: ``runs_ms``, the numbers of the ``disturbed`` runs, and ``context``.
        precision: The precision asked for, a share of the median.
        readings: The readings of the sensors before, during and after the measurement: see
            `qsdnn_runtime.board.sensors.Sensors.read`.
    """
    if _throttled(readings):
        return Trust.THROTTLED
    if is_contended(record):
        return Trust.DISTURBED
    runs_ms = undisturbed(record["runs_ms"], record.get("disturbed", ()))
    if len(runs_ms) < 3:
        return Trust.NOISY
    return (
        Trust.NOISY if relative_spread(runs_ms) > max(NOISY_SPREAD, 3 * precision) else Trust.STABLE
    )


def _throttled(readings: Sequence[Mapping[str, Any]]) -> bool:
    counts = [reading["throttle_count"] for reading in readings if "throttle_count" in reading]
    if counts and max(counts) > counts[0]:
        return True
    # The first reading is of a board at rest, whose clock may be low.
    hot = any(reading.get("temperature_c", 0.0) >= HOT_C for reading in readings)
    return any(reading.get("throttling", False) for reading in readings) or any(
        hot
        and reading.get("frequency_mhz", math.inf)
        < THROTTLED_SHARE * reading.get("max_frequency_mhz", 0.0)
        for reading in readings[1:]
    )


class Doubt(NamedTuple):
    """How little a group can be trusted: a lesser tuple is better.

    Attributes:
        throttled: The number of throttled records.
        disturbed: The number of disturbed records.
        noisy: The number of noisy records.
        reach: The sum of the relative spreads of the records' intervals.
    """

    throttled: int
    disturbed: int
    noisy: int
    reach: float


def doubt(records: Sequence[Mapping[str, Any]]) -> Doubt:
    """How little a group of records that ended well can be trusted.

    Noise of slow packages does not count: they get few runs, and nobody will choose them.
    """
    runs_ms = [undisturbed(record["runs_ms"], record.get("disturbed", ())) for record in records]
    middles = [median(runs) for runs in runs_ms]
    likely = [i for i, ms in enumerate(middles) if ms <= UNLIKELY_RATIO * min(middles)]
    return Doubt(
        throttled=sum(record["trust"] == Trust.THROTTLED for record in records),
        disturbed=sum(records[i]["trust"] == Trust.DISTURBED for i in likely),
        noisy=sum(records[i]["trust"] == Trust.NOISY for i in likely),
        reach=sum(relative_spread(runs_ms[i]) for i in likely),
    )


def worst(found: Doubt) -> Trust:
    """The reason why a group is measured again."""
    return (
        Trust.THROTTLED if found.throttled else Trust.DISTURBED if found.disturbed else Trust.NOISY
    )


class Repeats:
    """Decides whether a group is measured again; remembers over all groups whether that helped."""

    def __init__(self) -> None:
        self._vain = 0

    def wanted(self, found: Doubt, taken: int, limit: int) -> bool:
        """Whether to measure the group once more.

        Args:
            found: The doubt of the best pass so far.
            taken: The number of passes that were made.
            limit: The number of repeats that are allowed.
        """
        if not found.throttled and self._vain >= VAIN:
            limit -= 1  # a board that cools down is worth another try; noise may be here to stay
        return any(found[:3]) and taken <= limit

    def learn(self, before: Doubt, after: Doubt) -> None:
        """Remembers whether a repeat was better than the pass before."""
        self._vain = 0 if after[:3] < before[:3] else self._vain + 1
