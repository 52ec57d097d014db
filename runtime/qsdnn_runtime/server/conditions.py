"""The conditions of a measurement on the board: performance mode, temperature, sensors, trust.

A hot board slows down, and its times hold for no other state: it is waited for.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional

from qsdnn_runtime.board.disturbance import is_contended, taken_by_others
from qsdnn_runtime.board.performance import PerformanceMode, Report
from qsdnn_runtime.board.sampler import Sampler, mean_power_mw, sensor_summary
from qsdnn_runtime.board.sensors import ROOT, Sensors
from qsdnn_runtime.protocol import MeasureOptions

from .trust import Repeats, judge

POLL_S = 1.0
# A board that got no cooler for so many seconds, by so many degrees, is as cool as it gets.
STEADY_S = 45.0
STEADY_C = 0.5
# How much cooler to begin after throttling: from the limit on, one group made the board too hot.
COOLER_C = 10.0
# How long to look whether what disturbed a measurement goes on: 30 clock ticks.
LOOK_S = 0.3


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


class Keeper:
    """Keeps the board in order while a measuring server lives.

    Args:
        root: The board's cache folder.
    """

    def __init__(self, root: Path) -> None:
        self.repeats = Repeats()
        self._mode = PerformanceMode(root)
        self._notes: List[str] = []

    def recover(self) -> None:
        """Sets back what a killed measuring server had set; the next record's notes tell."""
        self._notes += self._mode.recover().notes()

    def conditions(self, request: Mapping[str, Any], tell: Callable[[str], None]) -> Conditions:
        """Brings the board into its performance mode, unless that was done or is not wanted.

        Args:
            request: The header of the host's ``measure``.
            tell: A function that is told what is being done.
        """
        wanted = request["conditions"]
        notes, self._notes = self._notes, []
        reports: List[Report] = []
        if wanted["performance"]:
            tell("setting the performance mode")
            reports, more = self._mode.set(wanted["performance"])
            notes += more
        return Conditions(request, reports, notes, self.repeats, tell)

    def leave(self) -> None:
        """Sets back the performance mode."""
        self._mode.restore()


class Conditions:
    """The conditions under which the packages of one request are measured.

    Args:
        request: The header of the host's ``measure``.
        performance: The reports of the performance mode's knobs: see `knob.report`.
        notes: The messages for the user.
        repeats: The judge of whether a group is measured again.
        tell: A function that is told what is being done.
        root: The folder that holds ``/sys`` and ``/proc``.
    """

    def __init__(
        self,
        request: Mapping[str, Any],
        performance: List[Report],
        notes: List[str],
        repeats: Repeats,
        tell: Callable[[str], None],
        root: Path = ROOT,
    ) -> None:
        self.repeats = repeats
        self._wanted: Mapping[str, Any] = request["conditions"]
        self._options = MeasureOptions(**request["options"])
        self._performance = performance
        self._notes = notes
        self._tell = tell
        self._cooling: Dict[str, Any] = {}
        self._cores = sorted(os.sched_getaffinity(0))[: self._options.threads]
        self._sensors = Sensors(self._cores, self._wanted["sensors"], root)
        self._supply = [named["name"] for named in self._wanted["sensors"] if named.get("total")]

    def cool(self, *, throttled: bool = False) -> None:
        """Waits for a cool board, and for a still cooler one after the board throttled."""
        limit_c, limit_s = self._wanted["max_temperature_c"], self._wanted["cooling_limit_s"]
        limit_c -= COOLER_C if throttled else 0.0
        self._cooling = cool_down(self._sensors.temperature_c, limit_c, limit_s, self._tell)

    def contended(self) -> bool:
        """Whether others take too much of the processor now, while this process does nothing."""
        before, own_s = self._sensors.read(), time.process_time()
        time.sleep(LOOK_S)
        after, own_s = self._sensors.read(), time.process_time() - own_s
        shares = taken_by_others(before, after, own_s)
        return is_contended({"runs_ms": (), "context": shares})

    def sampler(self) -> Sampler:
        """A sampler that reads the sensors while it is entered."""
        return Sampler(self._sensors.read, self._cores)

    def complete(self, record: Dict[str, Any], sampler: Sampler) -> None:
        """Adds to a record that ended well its trust, and the conditions of the measurement.

        Args:
            record: The record, as the child sends it; changed in place.
            sampler: The sampler that ran meanwhile.
        """
        context = record["context"]
        start_s, end_s = context.pop("span_s")
        before, after = context["before"], context["after"]
        samples = sampler.between(start_s, end_s)
        readings = [before, *samples, after]
        record["trust"] = judge(record, self._options.precision, readings)
        context["during"] = sensor_summary(samples)
        context["power_mw"] = mean_power_mw(before, samples, after, end_s - start_s)
        context["supply"] = self._supply
        context["performance"] = self._performance
        context["cooling"] = self._cooling
        context["passes"] = 1
        # After throttling, a lower limit was waited for, which need not be reached.
        hot = cooling_note({**self._cooling, "limit_c": self._wanted["max_temperature_c"]})
        context["notes"] = [*self._notes, *filter(None, [hot])]
