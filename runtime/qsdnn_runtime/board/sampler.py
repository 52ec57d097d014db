"""Samples of the sensors while a child measures: taken by the agent, about each second."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence, Tuple, Type

EVERY_S = 1.0
# More than an hour's; a group is measured for less.
KEPT = 5000


class Sampler:
    """Reads in a thread of its own while it is entered.

    Args:
        read: Gives a reading.
        cores: Those the measurement runs on; the thread stays off them where there are others.
        every_s: Between two readings.
    """

    def __init__(
        self, read: Callable[[], Dict[str, Any]], cores: Sequence[int], every_s: float = EVERY_S
    ) -> None:
        self._read = read
        self._others = os.sched_getaffinity(0) - set(cores)
        self._every_s = every_s
        self._samples: Deque[Tuple[float, Dict[str, Any]]] = deque(maxlen=KEPT)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._over.set()
        self._thread.join()

    def between(self, start_s: float, end_s: float) -> List[Dict[str, Any]]:
        """The samples of a time, on the monotonic clock that all processes share."""
        return [sample for at_s, sample in list(self._samples) if start_s <= at_s <= end_s]

    def _sample(self) -> None:
        if self._others:
            os.sched_setaffinity(0, self._others)  # of this thread only
        while not self._over.wait(self._every_s):
            self._samples.append((time.monotonic(), self._read()))


def sensor_summary(samples: Sequence[Mapping[str, Any]]) -> Dict[str, Any]:
    """What samples say in short.

    Returns:
        ``samples``, their number; of ``temperature_c``, ``frequency_mhz`` and of each of the
        spec's ``sensors``, by quantity and name, the ``min``, ``mean`` and ``max``.
    """
    found: Dict[str, Any] = {"samples": len(samples)}
    for key in ("temperature_c", "frequency_mhz"):
        found.update(_spread(key, samples))
    named = [sample["sensors"] for sample in samples if "sensors" in sample]
    sensors = {
        quantity: {
            name: spread
            for name in sorted({name for one in named for name in one.get(quantity, {})})
            for spread in _spread(name, [one.get(quantity, {}) for one in named]).values()
        }
        for quantity in sorted({quantity for one in named for quantity in one})
    }
    return {**found, "sensors": sensors} if sensors else found


def mean_power_mw(
    before: Mapping[str, Any],
    samples: Sequence[Mapping[str, Any]],
    after: Mapping[str, Any],
    seconds: float,
) -> Dict[str, float]:
    """Mean power by sensor while a group was measured, its packages in turns.

    Args:
        before: The reading that was made when it began.
        samples: Those made meanwhile: a rail's power is their mean.
        after: The reading at the end: an energy counter's power is its difference over the time.
        seconds: Between the first reading and the last.
    """
    found = {}
    rails = sensor_summary(samples).get("sensors", {}).get("power_mw", {})
    for name, spread in rails.items():
        found[name] = spread["mean"]
    start, end = (one.get("sensors", {}).get("energy_j", {}) for one in (before, after))
    for name in set(start) & set(end):
        if end[name] >= start[name] and seconds > 0:  # else the counter began anew meanwhile
            found[name] = 1000 * (end[name] - start[name]) / seconds
    return found


def _spread(key: str, samples: Sequence[Mapping[str, Any]]) -> Dict[str, Dict[str, float]]:
    values = [sample[key] for sample in samples if key in sample]
    if not values:
        return {}
    return {key: {"min": min(values), "mean": sum(values) / len(values), "max": max(values)}}
