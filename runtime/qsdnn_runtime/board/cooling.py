"""Waiting for a cool board: a hot one slows down, and what it measures is of nothing else."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Optional

POLL_S = 1.0
# A board that got no cooler for so long, by so much, is as cool as it gets.
STEADY_S = 45.0
STEADY_C = 0.5


def cool_down(
    temperature_c: Callable[[], Optional[float]],
    limit_c: float,
    limit_s: float,
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """Waits until the board is cool enough, gets no cooler, or the time is over.

    Args:
        temperature_c: Reads it; None where there is no sensor, which is never waited for.
        limit_c: Cool enough.
        limit_s: The longest wait.
        tell: Told of the waiting.
        clock: Seconds.
        sleep: Sleeps for seconds.

    Returns:
        ``temperature_c`` at the end, ``limit_c``, ``waited_s``; nothing without a sensor.
    """
    start_s = clock()
    lowest_c, lowest_at_s = float("inf"), start_s
    while True:
        now_c, now_s = temperature_c(), clock()
        if now_c is None:
            return {}
        if now_c < lowest_c - STEADY_C:
            lowest_c, lowest_at_s = now_c, now_s
        over = now_s - start_s >= limit_s or now_s - lowest_at_s >= STEADY_S
        if now_c <= limit_c or over:
            return {"temperature_c": now_c, "limit_c": limit_c, "waited_s": now_s - start_s}
        tell("cooling: %.0f °C, waits for %g °C" % (now_c, limit_c))
        sleep(POLL_S)


def cooling_note(cooling: Dict[str, Any]) -> str:
    """What to tell the user of a board that stayed too hot; nothing of one that did not.

    Args:
        cooling: What `cool_down` returned, and the ``limit_c``.
    """
    if cooling.get("temperature_c", 0.0) <= cooling["limit_c"]:
        return ""
    # Without what differs each time: a user is told a thing once.
    return "the board stays above %g °C, and is measured hot" % cooling["limit_c"]
