"""Reads the sensors that a board's spec names: thermal zones, power rails, counters, clocks.

A host also runs this file on boards that have no runtime: see `qsdnn_runtime.board.commands`.
"""

from __future__ import annotations

import glob
import math
import os
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

ROOT = Path("/")
ZONES = "sys/class/thermal/thermal_zone[0-9]*"

Readings = Dict[str, Dict[str, float]]
"""Values by quantity, which ends in its unit, then by the sensor's name."""


class SensorReader:
    """Reads sensors again and again; looks for their files once.

    Args:
        sensors: The sensors as the host sends them: see `qsdnn_boards.spec.spec.Sensor`.
        root: The folder that holds ``/sys``.
    """

    def __init__(self, sensors: Sequence[Mapping[str, Any]], root: Path = ROOT) -> None:
        self._sensors = [(sensor, _Source(sensor, root)) for sensor in sensors]

    def read(self) -> Readings:
        """The values of the sensors that can be read now."""
        found: Readings = {}
        for sensor, source in self._sensors:
            value = source.read()
            if value is not None:
                found.setdefault(sensor["quantity"], {})[sensor["name"]] = value
        return found

    def each(self) -> List[Optional[float]]:
        """The value of every sensor, in order; None for a sensor that cannot be read now."""
        return [source.read() for _, source in self._sensors]


class _Source:
    """The files of one sensor."""

    def __init__(self, sensor: Mapping[str, Any], root: Path) -> None:
        zones, files = sensor["zones"], sensor["files"]
        self._file = _zone(zones, root) if zones else _first(files, root)
        self._factor = _first(sensor["times"], root) if sensor["times"] else None
        self._whole = not sensor["times"] or self._factor is not None
        self._scale = sensor["scale"]

    def read(self) -> Optional[float]:
        if self._file is None or not self._whole:
            return None
        value = number(self._file)
        factor = 1.0 if self._factor is None else number(self._factor)
        return None if value is None or factor is None else value * factor * self._scale


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
