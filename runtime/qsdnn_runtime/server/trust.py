"""How far a measurement may be believed, and when to take it again."""

from __future__ import annotations

import math
from statistics import median
from typing import Any, Mapping, NamedTuple, Sequence

from ..board.disturbance import is_contended, undisturbed
from ..protocol import Trust
from .interval import relative_spread

# The kernel's passive trip point on most boards, and the Raspberry Pi's first limit.
HOT_C = 80.0
THROTTLED_SHARE = 0.9
NOISY_SPREAD = 0.03
# What takes so many times as long as the fastest of its group is not measured again for its noise.
UNLIKELY_RATIO = 3.0
# After so many repeats that did not help, noise is what this board has: one repeat less.
VAIN = 2


def judge(
    record: Mapping[str, Any], precision: float, readings: Sequence[Mapping[str, Any]] = ()
) -> Trust:
    """Trust in a measurement: ``throttled``, else ``disturbed``, ``noisy``, or ``stable``.

    Throttled: a throttle counter grew, the firmware or the kernel says at any time that it slows
    the board down, or cores run more than 10 % below their maximum while the board is hot.
    Disturbed: others took too much of the processor, see
    `qsdnn_runtime.board.disturbance.is_contended`.
    Noisy: the 95 % interval of the median reaches further from it than 3 % and than three times
    the precision asked for; two runs or fewer say nothing, and are noisy.

    Args:
        record: ``runs_ms``, the numbers of those ``disturbed``, and ``context``.
        precision: What was asked for.
        readings: Of the sensors before, while and after it was measured: see
            `qsdnn_runtime.board.sensors.Sensors.read`.
    """
    if _throttled(readings):
        return Trust.THROTTLED
    if is_contended(record):
        return Trust.DISTURBED
    runs_ms = undisturbed(record["runs_ms"], record.get("disturbed", ()))
    if len(runs_ms) < 3:
        return Trust.NOISY
    return Trust.NOISY if relative_spread(runs_ms) > max(NOISY_SPREAD, 3 * precision) else Trust.STABLE


def _throttled(readings: Sequence[Mapping[str, Any]]) -> bool:
    counts = [reading["throttle_count"] for reading in readings if "throttle_count" in reading]
    if counts and max(counts) > counts[0]:
        return True
    # The reading before is of a board at rest, whose clock may be low.
    hot = any(reading.get("temperature_c", 0.0) >= HOT_C for reading in readings)
    return any(reading.get("throttling", False) for reading in readings) or any(
        hot
        and reading.get("frequency_mhz", math.inf)
        < THROTTLED_SHARE * reading.get("max_frequency_mhz", 0.0)
        for reading in readings[1:]
    )


class Doubt(NamedTuple):
    """How little a group is to be believed: less is better.

    Attributes:
        throttled: Records that were throttled.
        disturbed: Those that were disturbed.
        noisy: Those that were noisy.
        reach: Sum of how far their intervals reach.
    """

    throttled: int
    disturbed: int
    noisy: int
    reach: float


def doubt(records: Sequence[Mapping[str, Any]]) -> Doubt:
    """How little a group of records that ended well is to be believed.

    Noise of the slow does not count: they get few runs, and nobody will choose them.
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
    """Why a group is measured again."""
    return Trust.THROTTLED if found.throttled else Trust.DISTURBED if found.disturbed else Trust.NOISY


class Repeats:
    """Decides whether a group is measured again; remembers whether that helped, for all groups."""

    def __init__(self) -> None:
        self._vain = 0

    def wanted(self, found: Doubt, taken: int, limit: int) -> bool:
        """Whether to measure once more.

        Args:
            found: Of the best pass so far.
            taken: Passes that were made.
            limit: Repeats that are allowed.
        """
        if not found.throttled and self._vain >= VAIN:
            limit -= 1  # a board that cools down is worth another try; noise may be here to stay
        return any(found[:3]) and taken <= limit

    def learn(self, before: Doubt, after: Doubt) -> None:
        """Takes what a repeat showed."""
        self._vain = 0 if after[:3] < before[:3] else self._vain + 1
