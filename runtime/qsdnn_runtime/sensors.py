"""What the board's sensors say around a measurement.

A sensor that a board lacks is a key that is absent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .readings import ROOT, Readings, SensorReader, matching, number, text

# Raspberry Pi firmware, "get_throttled": bits 0-3 say what holds now.
FIRMWARE_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
FIRMWARE_NOW = 0xF
# Types of the kernel's cooling devices that slow processors or the GPU down, in any kernel since 4.
SLOWING = ("cpufreq-", "thermal-cpufreq-", "devfreq-", "thermal-devfreq-", "Processor")
COOLING_DEVICES = "sys/class/thermal/cooling_device[0-9]*"


class Sensors:
    """The sensors of this board, generic ones and those its spec names.

    Args:
        cores: Those the measurement runs on.
        named: The spec's, as the host sends them: see `qsdnn_boards.spec.Sensor`.
        root: Where ``/sys`` and ``/proc`` are.
    """

    def __init__(
        self, cores: Sequence[int], named: Sequence[Mapping[str, Any]] = (), root: Path = ROOT
    ) -> None:
        self._cores = cores
        self._named = SensorReader(named, root)
        self._root = root
        self._slowing = [
            folder / "cur_state"
            for folder in matching(COOLING_DEVICES, root)
            if (text(folder / "type") or "").startswith(SLOWING)
        ]

    def read(self) -> Dict[str, Any]:
        """One reading.

        Returns:
            Of ``governor``, ``frequency_mhz`` and ``max_frequency_mhz`` (lowest of the cores),
            ``temperature_c`` (the hottest: of the spec's sensors, else of all thermal zones),
            ``throttle_count``, ``throttling`` (now), ``load`` (one minute), ``steal_ticks``,
            ``all_ticks``, and ``sensors``, the spec's, see `readings.Readings`: those the board
            has.
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
        readings["steal_ticks"], readings["all_ticks"] = _ticks(root)
        return {key: value for key, value in readings.items() if value is not None}

    def temperature_c(self) -> Optional[float]:
        """The hottest, as in `read`."""
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
        return any(state > 0 for state in states) if states else None


def steal_share(before: Mapping[str, Any], after: Mapping[str, Any]) -> Optional[float]:
    """Share of processor time that a hypervisor gave to others between two readings."""
    if "all_ticks" not in before or "all_ticks" not in after:
        return None
    passed = after["all_ticks"] - before["all_ticks"]
    return (after["steal_ticks"] - before["steal_ticks"]) / passed if passed > 0 else 0.0


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


def _ticks(root: Path) -> Tuple[Optional[int], Optional[int]]:
    """Stolen and total ticks: the eighth field, and the first eight, of the first line."""
    line = (text(root / "proc/stat") or "").partition("\n")[0].split()
    if len(line) < 9:
        return None, None
    fields = [int(field) for field in line[1:9]]  # what follows is counted in user time already
    return fields[7], sum(fields)
