"""Waiting for a cool board: a hot board slows down, and its times hold for no other state."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Optional

POLL_S = 1.0
# A board that got no cooler for so many seconds, by so many degrees, is as cool as it gets.
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
        temperature_c: A function that reads the temperature; it returns None where there is no
            sensor, and then nothing is waited for.
        limit_c: The temperature at which the board is cool enough.
        limit_s: The longest wait in seconds.
        tell: A function that is told of the waiting.
        clock: A function that returns the time in seconds.
        sleep: A function that sleeps for a number of seconds.

    Returns:
        ``temperature_c`` at the end, ``limit_c`` and ``waited_s``; nothing without a sensor.
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
    """What to tell the user of a board that stayed too hot; empty when it did not.

    Args:
        cooling: The result of `cool_down`, with ``limit_c`` in any case.
    """
    if cooling.get("temperature_c", 0.0) <= cooling["limit_c"]:
        return ""
    # The text leaves out what differs each time: a user is told each text once.
    return "the board stays above %g °C, and is measured hot" % cooling["limit_c"]
