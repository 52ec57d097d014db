"""Runs on a board: reads its clock, its governor, its free space and the sensors asked for.

See `script`. The host says ``sensors``, as a spec has them; the answer has ``disk_free_mb``,
``governors``, ``clocks_mhz`` as pairs of now and most for each kind of core, and ``sensors``, the
value of each or null. It only reads.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
from pathlib import Path
from typing import Any

POLICIES = "/sys/devices/system/cpu/cpufreq/policy[0-9]*"
ZONES = "/sys/class/thermal/thermal_zone[0-9]*"


def main() -> None:
    """Serves one host, once."""
    stream = open(0, "rb", closefd=False)  # noqa: SIM115 - ends with the process
    request = json.loads(stream.readline() or b"null")
    if request is None:
        return
    policies = [Path(path) for path in sorted(glob.glob(POLICIES))]
    clocks = [[number(p / "scaling_cur_freq"), number(p / "cpuinfo_max_freq")] for p in policies]
    answer = {
        "disk_free_mb": disk_free_mb(),
        "governors": sorted({text(path / "scaling_governor") for path in policies} - {""}),
        "clocks_mhz": [[now / 1000, most / 1000] for now, most in clocks if now and most],
        "sensors": [reading(sensor) for sensor in request["sensors"]],
    }
    print(json.dumps(answer), flush=True)


def disk_free_mb() -> int:
    """Where artifacts will be, or the folder above it that is there."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.environ.get("QSDNN_BOARD_CACHE") or caches).expanduser().absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(str(folder)).free >> 20


def reading(sensor: dict[str, Any]) -> float | None:
    """The value of a sensor; nothing where it cannot be read."""
    value = zone(sensor["zones"]) if sensor["zones"] else first(sensor["files"])
    factor = first(sensor["times"]) if sensor["times"] else 1.0
    return None if value is None or factor is None else value * factor * sensor["scale"]


def zone(types: list[str]) -> float | None:
    """The first thermal zone of one of these types."""
    found = {text(Path(path) / "type"): Path(path) / "temp" for path in sorted(glob.glob(ZONES))}
    values = (number(found[name]) for name in types if name in found)
    return next((value for value in values if value is not None), None)


def first(patterns: list[str]) -> float | None:
    """The number in the first file that matches one of these and has one."""
    paths = (Path(path) for pattern in patterns for path in sorted(glob.glob(pattern)))
    values = (number(path) for path in paths)
    return next((value for value in values if value is not None), None)


def number(path: Path) -> float | None:
    """The number in a file."""
    try:
        return float(text(path))
    except ValueError:
        return None


def text(path: Path) -> str:
    """The text in a file; nothing where only root may read it, or its sensor is asleep."""
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
