"""The processor of this machine, as a compiler's target.

Targets are named as compilers and distributions do: the levels of the x86-64 psABI, ``aarch64``,
``armv7-neon``, ``riscv64``.
"""

from __future__ import annotations

import platform
from typing import FrozenSet, Optional, Tuple

CPUINFO = "/proc/cpuinfo"

_LEVELS = (
    ("x86-64-v2", {"cx16", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
    ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}),
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
)
"""The levels and the features that each adds, as Linux names them."""


def target() -> Optional[str]:
    """The best target whose code this processor runs; None for processors without one."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        flags, found = _flags(), None
        for name, needed in _LEVELS:
            if not needed <= flags:
                break
            found = name
        return found
    if machine in ("aarch64", "arm64"):
        return "aarch64"
    if machine.startswith("armv7") and "neon" in _flags():
        return "armv7-neon"
    if machine == "riscv64":
        return "riscv64"
    return None


_NARROW = {
    ("x86-64-v4", "avx512_vnni"): "INT8",
    ("x86-64-v4", "avx512_bf16"): "BF16",
    ("aarch64", "asimddp"): "INT8",
    ("aarch64", "bf16"): "BF16",
}
"""What processors of a target multiply besides, by the feature that says so."""


def narrow() -> Tuple[str, ...]:
    """The formats of few bits that this processor multiplies: ``INT8``, ``BF16``."""
    flags, found = _flags(), target()
    return tuple(word for (name, flag), word in _NARROW.items() if name == found and flag in flags)


def _flags() -> FrozenSet[str]:
    """The features that Linux names for the first core."""
    try:
        with open(CPUINFO, encoding="ascii", errors="replace") as stream:
            for line in stream:
                name, _, words = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    return frozenset(words.split())
    except OSError:
        pass
    return frozenset()
