"""The BLAS that numpy is linked to, when it is OpenBLAS: its version, its core, its threads.

numpy has no interface to these; OpenBLAS exports functions for them, whose names differ by how
OpenBLAS was built: with a prefix in numpy's own wheels, with a suffix where integers have 64 bits.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, List, Optional

PREFIXES = ("scipy_openblas_", "openblas_")
SUFFIXES = ("64_", "")


def set_threads(threads: int) -> None:
    """Sets the number of threads of each OpenBLAS in this process; does nothing without OpenBLAS.

    The setting is the process's: the last call counts for all sessions.
    """
    for library in _libraries():
        function = _function(library, "set_num_threads")
        if function is not None:
            function.argtypes, function.restype = [ctypes.c_int], None
            function(threads)


def threads() -> Optional[int]:
    """The number of threads that OpenBLAS uses; None where there is no OpenBLAS."""
    for library in _libraries():
        function = _function(library, "get_num_threads")
        if function is not None:
            function.argtypes, function.restype = [], ctypes.c_int
            return int(function())
    return None


def version() -> str:
    """The library and its version, e.g. ``"openblas-0.3.31"``; ``"blas"`` when not known."""
    words = _text("get_config").split()
    return "openblas-" + words[1] if words[:1] == ["OpenBLAS"] and len(words) > 1 else "blas"


def core() -> str:
    """The processor that OpenBLAS chose kernels for, e.g. ``"SkylakeX"``; empty when not known."""
    return _text("get_corename")


def _text(name: str) -> str:
    for library in _libraries():
        function = _function(library, name)
        if function is not None:
            function.argtypes, function.restype = [], ctypes.c_char_p
            return str((function() or b"").decode("ascii", "replace"))
    return ""


def _libraries() -> List[ctypes.CDLL]:
    """The BLAS libraries in this process."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[-1] for line in lines if "blas" in line.rpartition("/")[2]}
    return [library for library in map(_open, sorted(paths)) if library is not None]


def _open(path: str) -> Optional[ctypes.CDLL]:
    try:
        return ctypes.CDLL(path)
    except OSError:  # the file was replaced since, or is data with such a name
        return None


def _function(library: ctypes.CDLL, name: str) -> Optional[Any]:
    for prefix in PREFIXES:
        for suffix in SUFFIXES:
            function = getattr(library, prefix + name + suffix, None)
            if function is not None:
                return function
    return None
