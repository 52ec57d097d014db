"""What the board's sensors say around a measurement, and how far that lets one believe it.

A sensor that a board lacks is a key that is absent.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .interval import relative_spread

ROOT = Path("/")
# The kernel's passive trip point on most boards, and the Raspberry Pi's first limit.
HOT_C = 80.0
THROTTLED_SHARE = 0.9
NOISY_SPREAD = 0.03
# Raspberry Pi firmware, "get_throttled": bits 0-3 say what holds now.
FIRMWARE_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
FIRMWARE_NOW = 0xF


def read_sensors(cores: Sequence[int], root: Path = ROOT) -> Dict[str, Any]:
    """One reading.

    Args:
        cores: Those the measurement runs on.
        root: Where ``/sys`` and ``/proc`` are.

    Returns:
        Of ``governor``, ``frequency_mhz`` and ``max_frequency_mhz`` (lowest of the cores),
        ``temperature_c`` (hottest zone), ``throttle_count``, ``load`` (one minute),
        ``steal_ticks`` and ``all_ticks``: those the board has.
    """
    readings = {
        "governor": _text(_cpufreq(root, cores[0]) / "scaling_governor") if cores else None,
        "frequency_mhz": _frequency_mhz(cores, root),
        "max_frequency_mhz": _lowest_mhz("cpuinfo_max_freq", cores, root),
        "temperature_c": _temperature_c(root),
        "throttle_count": _throttle_count(cores, root),
        "load": _load(root),
    }
    readings["steal_ticks"], readings["all_ticks"] = _ticks(root)
    return {key: value for key, value in readings.items() if value is not None}


def steal_share(before: Mapping[str, Any], after: Mapping[str, Any]) -> Optional[float]:
    """Share of processor time that a hypervisor gave to others between two readings."""
    if "all_ticks" not in before or "all_ticks" not in after:
        return None
    passed = after["all_ticks"] - before["all_ticks"]
    return (after["steal_ticks"] - before["steal_ticks"]) / passed if passed > 0 else 0.0


def judge(
    runs_ms: Sequence[float],
    precision: float,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> str:
    """Trust in a measurement: ``throttled``, else ``noisy``, else ``stable``.

    Throttled: a throttle counter grew, or cores run more than 10 % below their maximum while the
    board is hot. Noisy: the 95 % interval of the median reaches further from it than 3 % and than
    three times the precision asked for; two runs or fewer say nothing, and are noisy.
    """
    if after.get("throttle_count", 0) > before.get("throttle_count", 0):
        return "throttled"
    hot = max(before.get("temperature_c", 0.0), after.get("temperature_c", 0.0)) >= HOT_C
    reached_mhz = after.get("frequency_mhz", math.inf)
    if hot and reached_mhz < THROTTLED_SHARE * after.get("max_frequency_mhz", 0.0):
        return "throttled"
    if len(runs_ms) < 3:
        return "noisy"
    return "noisy" if relative_spread(runs_ms) > max(NOISY_SPREAD, 3 * precision) else "stable"


def _cpufreq(root: Path, core: int) -> Path:
    return root / "sys/devices/system/cpu" / ("cpu%d" % core) / "cpufreq"


def _text(path: Path) -> Optional[str]:
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return None


def _number(path: Path) -> Optional[float]:
    try:
        return float(int(_text(path) or "", 0))
    except ValueError:
        return None


def _known(values: Sequence[Optional[float]]) -> List[float]:
    return [value for value in values if value is not None]


def _lowest_mhz(file: str, cores: Sequence[int], root: Path) -> Optional[float]:
    found = _known([_number(_cpufreq(root, core) / file) for core in cores])
    return min(found) / 1000 if found else None  # the kernel speaks kHz


def _frequency_mhz(cores: Sequence[int], root: Path) -> Optional[float]:
    current = _lowest_mhz("scaling_cur_freq", cores, root)
    if current is not None:
        return current
    lines = (_text(root / "proc/cpuinfo") or "").splitlines()
    listed = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    chosen = [listed[core] for core in cores if core < len(listed)]
    return min(chosen) if chosen else None


def _temperature_c(root: Path) -> Optional[float]:
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*/temp"))
    found = _known([_number(zone) for zone in zones])
    return max(found) / 1000 if found else None


def _throttle_count(cores: Sequence[int], root: Path) -> Optional[int]:
    counters = []
    for core in cores:
        folder = root / "sys/devices/system/cpu" / ("cpu%d" % core) / "thermal_throttle"
        counters += [_number(folder / ("%s_throttle_count" % kind)) for kind in ("core", "package")]
    firmware = _text(root / FIRMWARE_THROTTLED)
    if firmware is not None:
        counters.append(float(int(firmware, 16) & FIRMWARE_NOW > 0))
    found = _known(counters)
    return int(sum(found)) if found else None


def _load(root: Path) -> Optional[float]:
    text = _text(root / "proc/loadavg")
    return float(text.split()[0]) if text else None


def _ticks(root: Path) -> Tuple[Optional[int], Optional[int]]:
    """Stolen and total ticks: the eighth field, and the first eight, of the first line."""
    line = (_text(root / "proc/stat") or "").partition("\n")[0].split()
    if len(line) < 9:
        return None, None
    fields = [int(field) for field in line[1:9]]  # what follows is counted in user time already
    return fields[7], sum(fields)
