"""Runs on a board: reads its clock, its governor, its free space and the sensors asked for.

See `script`; the runtime's modules in `survey.MODULES` are sent with this script. The host says
``sensors`` and ``performance``, as a spec has them. The answer has ``disk_free_mb``;
``governors``; ``clocks_mhz``, as pairs of the present and the highest clock for each kind of core;
``sensors``, the value of each sensor or null; and ``performance``: the state of each knob (see
`qsdnn_runtime.board.knob.report`), whether this user ``can_be_root``, and which settings that a
killed run had left were ``set_back`` or not. Apart from setting back, the surveyor only reads.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
from pathlib import Path
from typing import Any

from qsdnn_runtime.board.knob import can_be_root
from qsdnn_runtime.board.performance import PerformanceMode
from qsdnn_runtime.board.sensors import SensorReader, number, text

POLICIES = "/sys/devices/system/cpu/cpufreq/policy[0-9]*"


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
        "governors": sorted({text(path / "scaling_governor") or "" for path in policies} - {""}),
        "clocks_mhz": [[now / 1000, most / 1000] for now, most in clocks if now and most],
        "sensors": SensorReader(request["sensors"]).each(),
        "performance": performance(request["performance"]),
    }
    print(json.dumps(answer), flush=True)


def performance(settings: list[dict[str, Any]]) -> dict[str, Any]:
    """Sets back what a killed run had left set, then reads the state of the performance mode."""
    mode = PerformanceMode(cache_root())
    recovery = mode.recover()
    return {
        "set_back": recovery.done,
        "not_set_back": recovery.failed,
        "busy": recovery.busy,
        "can_be_root": not any(setting["needs_root"] for setting in settings) or can_be_root(),
        "knobs": mode.look(settings),
    }


def cache_root() -> Path:
    """The folder of qsdnn on this board: see `bootstrap`."""
    chosen = os.environ.get("QSDNN_BOARD_CACHE")
    if chosen:
        return Path(chosen).resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "qsdnn" / "board"


def disk_free_mb() -> int:
    """The free space where artifacts will be, or in the nearest folder above that exists."""
    folder = cache_root().absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(str(folder)).free >> 20


if __name__ == "__main__":
    main()
