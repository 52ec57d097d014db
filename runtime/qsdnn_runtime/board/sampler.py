"""Samples of the sensors while a child measures: taken by the measuring server each second."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence, Tuple, Type

EVERY_S = 1.0
# The number of samples kept, more than an hour's; a group is measured for less.
KEPT = 5000


class Sampler:
    """Takes samples in a thread of its own, as a context manager.

    Args:
        read: A function that returns a reading.
        cores: The cores that the measurement runs on; the thread stays off them if there are
            others.
        every_s: The time between two readings, in seconds.
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
        """The samples between two times, on the monotonic clock that all processes share."""
        return [sample for at_s, sample in list(self._samples) if start_s <= at_s <= end_s]

    def _sample(self) -> None:
        if self._others:
            os.sched_setaffinity(0, self._others)  # the affinity of this thread only
        while not self._over.wait(self._every_s):
            self._samples.append((time.monotonic(), self._read()))


def sensor_summary(samples: Sequence[Mapping[str, Any]]) -> Dict[str, Any]:
    """A summary of samples.

    Returns:
        ``samples``, the number of samples; and the ``min``, ``mean`` and ``max`` of
        ``temperature_c``, of ``frequency_mhz`` and of each of the spec's ``sensors``, by quantity
        and name.
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
    """Mean power in mW by sensor while a group was measured, its packages in turns.

    Args:
        before: The reading from the beginning.
        samples: The readings made meanwhile: a power rail's result is their mean.
        after: The reading from the end: an energy counter's power is its difference over the time.
        seconds: The time between the first reading and the last.
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
