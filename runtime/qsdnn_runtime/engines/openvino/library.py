"""The OpenVINO library, kept from telling its maker that it is used."""

from __future__ import annotations

import importlib
import sys
from functools import lru_cache
from typing import Any

from qsdnn_runtime.engine import EngineError

DEVICE = "CPU"

_TELEMETRY = "openvino_telemetry"


def import_library() -> Any:
    """The library, without its telemetry, which reports every import to the maker.

    OpenVINO reports through a package of its own, and works without that package.
    """
    if "openvino" in sys.modules:
        return _import()
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        return _import()
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before


@lru_cache(maxsize=None)
def core() -> Any:
    """The one `Core` of the process: all that differs between segments is given when compiling."""
    return import_library().Core()


def opset(version: int = 8) -> Any:
    """The functions that make operators; their module moved with version 2025."""
    import_library()
    try:
        return importlib.import_module("openvino.opset%d" % version)
    except ModuleNotFoundError:
        return importlib.import_module("openvino.runtime.opset%d" % version)


def reason(error: Exception) -> str:
    """The lines of an error that say what is wrong, without those that name OpenVINO's sources."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith("Exception from")]
    return " ".join(told)[:400] or type(error).__name__


def _import() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise EngineError("openvino is not installed here: %s" % error) from error
    return openvino
