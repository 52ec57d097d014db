"""The sensors of a board: those that its spec names, and the generic ones around a measurement.

A host also runs this file on boards that have no runtime: see `qsdnn_runtime.board.knob`.
"""

from __future__ import annotations

import glob
import math
import os
from pathlib import Path
from typing import Any, Collection, Dict, Iterable, List, Mapping, Optional, Sequence, Set

ROOT = Path("/")
ZONES = "sys/class/thermal/thermal_zone[0-9]*"

Readings = Dict[str, Dict[str, float]]
"""Values by quantity, which ends in its unit, then by the sensor's name."""

# Raspberry Pi firmware, "get_throttled": bits 0-3 say what holds now.
FIRMWARE_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
FIRMWARE_NOW = 0xF
# Types of the kernel's cooling devices that slow processors or the GPU down, in any kernel since 4.
SLOWING = ("cpufreq-", "thermal-cpufreq-", "devfreq-", "thermal-devfreq-", "Processor")
COOLING_DEVICES = "sys/class/thermal/cooling_device[0-9]*"


class SensorReader:
    """Reads sensors again and again; looks for their files once.

    Args:
        sensors: The sensors as the host sends them: see `qsdnn_boards.spec.spec.Sensor`.
        root: The folder that holds ``/sys``.

    Attributes:
        sources: Each sensor, and where it is read.
    """

    def __init__(self, sensors: Sequence[Mapping[str, Any]], root: Path = ROOT) -> None:
        self.sources = [(sensor, _Source(sensor, root)) for sensor in sensors]

    def read(self) -> Readings:
        """The values of the sensors that can be read now."""
        found: Readings = {}
        for sensor, source in self.sources:
            value = source.read()
            if value is not None:
                found.setdefault(sensor["quantity"], {})[sensor["name"]] = value
        return found

    def each(self) -> List[Optional[float]]:
        """The value of every sensor, in order; None for a sensor that cannot be read now."""
        return [source.read() for _, source in self.sources]


class _Source:
    """The files of one sensor."""

    def __init__(self, sensor: Mapping[str, Any], root: Path) -> None:
        zones, files = sensor["zones"], sensor["files"]
        self.gpu, self._what = _gpu_of(sensor["nvml"]), sensor["nvml"]
        self._file = _zone(zones, root) if zones else _first(files, root)
        self._factor = _first(sensor["times"], root) if sensor["times"] else None
        self._whole = not sensor["times"] or self._factor is not None
        self._scale = sensor["scale"]

    def read(self) -> Optional[float]:
        if self.gpu is not None:
            told = self.gpu.read(self._what)
            return None if told is None else told * self._scale
        if self._file is None or not self._whole:
            return None
        value = number(self._file)
        factor = 1.0 if self._factor is None else number(self._factor)
        return None if value is None or factor is None else value * factor * self._scale


def _gpu_of(what: str) -> Any:
    """The first GPU of NVIDIA's that tells this; None where nothing is asked, or none tells."""
    if not what:
        return None
    try:
        from qsdnn_runtime.board.nvml import gpus
    except ImportError:  # a host runs this file alone
        return None
    return next((gpu for gpu in gpus() if gpu.read(what) is not None), None)


def _zone(types: Sequence[str], root: Path) -> Optional[Path]:
    """The temperature file of the first thermal zone that has one of these types."""
    found: Dict[str, Path] = {}
    for folder in matching(ZONES, root):
        found.setdefault(text(folder / "type") or "", folder / "temp")
    return _readable(found[name] for name in types if name in found)


def _first(patterns: Sequence[str], root: Path) -> Optional[Path]:
    """The first file that matches one of these patterns, and holds a number."""
    return _readable(path for pattern in patterns for path in matching(pattern, root))


def _readable(paths: Iterable[Path]) -> Optional[Path]:
    """The first file with a number; else the first file: its sensor may be asleep and wake up."""
    known = list(paths)
    first = known[0] if known else None
    return next((path for path in known if number(path) is not None), first)


def matching(pattern: str, root: Path = ROOT) -> List[Path]:
    """Files and folders that match a glob, in alphabetical order.

    Args:
        pattern: An absolute path with wildcards.
        root: The folder that stands for ``/``.
    """
    whole = os.path.join(glob.escape(str(root)), pattern.lstrip("/"))
    return [Path(path) for path in sorted(glob.glob(whole))]


def number(path: Path) -> Optional[float]:
    """The number in a file; None where there is none."""
    try:
        value = float(text(path) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def text(path: Path) -> Optional[str]:
    """The text in a file; None where only root may read the file, or its sensor is asleep."""
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return None


class Sensors:
    """The sensors of this board: generic ones, and those that the board's spec names.

    Args:
        cores: The cores that the measurement runs on.
        named: The spec's sensors, as the host sends them: see `qsdnn_boards.spec.spec.Sensor`.
        root: The folder that holds ``/sys`` and ``/proc``.
    """

    def __init__(
        self, cores: Sequence[int], named: Sequence[Mapping[str, Any]] = (), root: Path = ROOT
    ) -> None:
        self._cores = cores
        self._named = SensorReader(named, root)
        self._root = root
        self._here = {sibling for core in cores for sibling in _siblings(core, root)}
        self._gpus = [source.gpu for _, source in self._named.sources if source.gpu is not None]
        self._slowing = [
            folder / "cur_state"
            for folder in matching(COOLING_DEVICES, root)
            if (text(folder / "type") or "").startswith(SLOWING)
        ]

    def read(self) -> Dict[str, Any]:
        """One reading.

        Returns:
            The readings that this board has, by key. ``governor``; ``frequency_mhz`` and
            ``max_frequency_mhz``, the lowest of the cores; ``temperature_c``, the hottest of the
            spec's sensors, else of all thermal zones; ``throttle_count``; ``throttling``, whether
            the board is slowed down now; ``load``, over one minute; ``all_ticks``, the clock ticks
            of all cores since the start, with the parts ``busy_ticks`` and ``steal_ticks``;
            ``here_ticks`` and ``here_busy_ticks``, the same for the measuring cores and those that
            share execution units with these; ``sensors``, the spec's sensors, see
            `Readings`.
        """
        cores, root = self._cores, self._root
        named = self._named.read()
        readings = {
            "governor": text(_cpufreq(root, cores[0]) / "scaling_governor") if cores else None,
            "frequency_mhz": _frequency_mhz(cores, root),
            "max_frequency_mhz": _lowest_mhz("cpuinfo_max_freq", cores, root),
            "temperature_c": self._hottest_c(named),
            "throttle_count": _throttle_count(cores, root),
            "throttling": self._throttling(),
            "load": _load(root),
            "sensors": named or None,
        }
        readings.update(_ticks(root, self._here))
        return {key: value for key, value in readings.items() if value is not None}

    def temperature_c(self) -> Optional[float]:
        """The hottest temperature, as in `read`; None without a sensor."""
        return self._hottest_c(self._named.read())

    def _hottest_c(self, named: Readings) -> Optional[float]:
        # Not every zone is a temperature: the Jetson Nano's PMIC-Die always says 100 °C.
        known = named.get("temperature_c")
        return max(known.values()) if known else _hottest_zone_c(self._root)

    def _throttling(self) -> Optional[bool]:
        """Whether the firmware or the kernel slows the board down now."""
        firmware = text(self._root / FIRMWARE_THROTTLED)
        states = _known([number(path) for path in self._slowing])
        if firmware:
            states.append(int(firmware, 16) & FIRMWARE_NOW)
        states += _known([gpu.is_slowed for gpu in self._gpus[:1]])
        return any(state > 0 for state in states) if states else None


def _cpufreq(root: Path, core: int) -> Path:
    return root / "sys/devices/system/cpu" / ("cpu%d" % core) / "cpufreq"


def _known(values: Sequence[Optional[float]]) -> List[float]:
    return [value for value in values if value is not None]


def _lowest_mhz(file: str, cores: Sequence[int], root: Path) -> Optional[float]:
    found = _known([number(_cpufreq(root, core) / file) for core in cores])
    return min(found) / 1000 if found else None  # the kernel speaks kHz


def _frequency_mhz(cores: Sequence[int], root: Path) -> Optional[float]:
    current = _lowest_mhz("scaling_cur_freq", cores, root)
    if current is not None:
        return current
    lines = (text(root / "proc/cpuinfo") or "").splitlines()
    listed = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    chosen = [listed[core] for core in cores if core < len(listed)]
    return min(chosen) if chosen else None


def _hottest_zone_c(root: Path) -> Optional[float]:
    zones = matching("sys/class/thermal/thermal_zone[0-9]*/temp", root)
    found = _known([number(zone) for zone in zones])
    return max(found) / 1000 if found else None


def _throttle_count(cores: Sequence[int], root: Path) -> Optional[int]:
    counters = []
    for core in cores:
        folder = root / "sys/devices/system/cpu" / ("cpu%d" % core) / "thermal_throttle"
        counters += [number(folder / ("%s_throttle_count" % kind)) for kind in ("core", "package")]
    found = _known(counters)
    return int(sum(found)) if found else None


def _load(root: Path) -> Optional[float]:
    words = (text(root / "proc/loadavg") or "").split()
    return float(words[0]) if words else None


def _siblings(core: int, root: Path) -> Set[int]:
    """A core, and the cores that share its execution units: a list such as ``0,4`` or ``0-1``."""
    path = root / "sys/devices/system/cpu" / ("cpu%d" % core) / "topology/thread_siblings_list"
    ranges = [part.split("-") for part in (text(path) or str(core)).split(",")]
    return {core for ends in ranges for core in range(int(ends[0]), int(ends[-1]) + 1)}


def _ticks(root: Path, here: Collection[int]) -> Dict[str, int]:
    """Sums of the tick counters in ``/proc/stat``: of all cores, and of the cores `here`.

    The first eight fields of a line are: user, nice, system, idle, waiting for input and output,
    two of interrupts, stolen. The fields behind these are counted in user time already.
    """
    found: Dict[str, int] = {}
    for line in (text(root / "proc/stat") or "").splitlines():
        name, *fields = line.split()[:9]
        if not name.startswith("cpu"):
            break
        if len(fields) < 8:
            continue
        ticks = [int(field) for field in fields]
        every, stolen = sum(ticks), ticks[7]
        busy = every - ticks[3] - ticks[4] - stolen
        if name == "cpu":
            found.update(all_ticks=every, busy_ticks=busy, steal_ticks=stolen)
        elif int(name[3:]) in here:
            found["here_ticks"] = found.get("here_ticks", 0) + every
            found["here_busy_ticks"] = found.get("here_busy_ticks", 0) + busy
    return found
