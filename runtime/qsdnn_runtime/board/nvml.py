"""NVIDIA's management library: which GPUs there are, what they take, and what slows them down.

NVIDIA: NVML API Reference Guide. The library comes with the driver; it is called by ctypes. Not run
on hardware yet.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char, c_uint, c_ulonglong, c_void_p
from functools import lru_cache
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

LIBRARY = "libnvidia-ml.so.1"
SUCCESS = 0
NAME_BYTES = 96

# Of nvmlClocksThrottleReasons: slowed down by hardware, by software or hardware for heat, and by
# the power supply. Other reasons are settings, or that nothing runs.
SLOWED = 0x08 | 0x20 | 0x40 | 0x80

Reading = Tuple[str, Tuple[int, ...]]
"""A function of the library, and what goes between the device and the number it writes."""

READINGS: Mapping[str, Reading] = {
    "power": ("nvmlDeviceGetPowerUsage", ()),  # mW, of the whole card
    "temperature": ("nvmlDeviceGetTemperature", (0,)),  # °C, of the GPU
    "clock": ("nvmlDeviceGetClockInfo", (1,)),  # MHz, of the multiprocessors
    "memory-clock": ("nvmlDeviceGetClockInfo", (2,)),  # MHz
}
"""What can be read as one number, by the names that specs have for it; besides ``load``."""

NAMES = (*READINGS, "load")


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", c_uint), ("memory", c_uint)]  # percent


class _Memory(ctypes.Structure):
    _fields_ = [("total", c_ulonglong), ("free", c_ulonglong), ("used", c_ulonglong)]


class Gpu:
    """One GPU.

    Args:
        library: The library, initialized.
        handle: The library's handle of the GPU.
    """

    def __init__(self, library: Any, handle: c_void_p) -> None:
        self._library = library
        self._handle = handle

    def read(self, what: str) -> Optional[float]:
        """A reading by its name, one of `NAMES`; None where the GPU does not tell."""
        if what == "load":
            used = _Utilization()
            told = self._ask("nvmlDeviceGetUtilizationRates", byref(used))
            return float(used.gpu) if told else None
        function, between = READINGS[what]
        value = c_uint()
        return float(value.value) if self._ask(function, *between, byref(value)) else None

    @property
    def is_slowed(self) -> Optional[bool]:
        """Whether heat or the power supply slows the GPU down now; None where it does not tell."""
        reasons = c_ulonglong()
        if not self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", byref(reasons)):
            return None
        return bool(reasons.value & SLOWED)

    def facts(self) -> Dict[str, Any]:
        """The ``name``, the ``memory_mb`` and the ``driver``, as far as the library tells."""
        name, driver = (c_char * NAME_BYTES)(), (c_char * NAME_BYTES)()
        memory = _Memory()
        found: Dict[str, Any] = {}
        if self._ask("nvmlDeviceGetName", name, c_uint(NAME_BYTES)):
            found["name"] = name.value.decode(errors="replace")
        if self._ask("nvmlDeviceGetMemoryInfo", byref(memory)):
            found["memory_mb"] = int(memory.total) >> 20
        if _succeeds(self._library, "nvmlSystemGetDriverVersion", driver, c_uint(NAME_BYTES)):
            found["driver"] = driver.value.decode(errors="replace")
        return found

    def _ask(self, function: str, *arguments: Any) -> bool:
        return _succeeds(self._library, function, self._handle, *arguments)


@lru_cache(maxsize=None)
def gpus(load: Callable[[str], Any] = ctypes.CDLL) -> List[Gpu]:
    """The GPUs of this machine, looked for once.

    None is found where the library is missing, or finds no driver.

    Args:
        load: A function that loads a library by its name.
    """
    try:
        library = load(LIBRARY)
    except OSError:
        return []
    count = c_uint()
    if not (
        _succeeds(library, "nvmlInit_v2")
        and _succeeds(library, "nvmlDeviceGetCount_v2", byref(count))
    ):
        return []
    found = []
    for index in range(count.value):
        handle = c_void_p()
        if _succeeds(library, "nvmlDeviceGetHandleByIndex_v2", c_uint(index), byref(handle)):
            found.append(Gpu(library, handle))
    return found


def _succeeds(library: Any, function: str, *arguments: Any) -> bool:
    """Calls a function of the library; False where it fails, or an old library does not have it."""
    called = getattr(library, function, None)
    return called is not None and called(*arguments) == SUCCESS
