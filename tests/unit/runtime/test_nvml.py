"""GPUs by NVIDIA's management library. The library is a fake: there is no such GPU here."""

from __future__ import annotations

import ctypes

import pytest

from qsdnn_runtime.board.nvml import NAMES, SLOWED, gpus


class Library:
    """Two GPUs, as the API reference describes them; a function that it `lacks` is not there."""

    def __init__(self, lacks=(), fails=(), reasons=0):
        self.lacks, self.fails, self.reasons = lacks, fails, reasons
        self.calls = []

    def __getattr__(self, name):
        if name in self.lacks or not name.startswith("nvml"):
            raise AttributeError(name)

        def function(*arguments):
            self.calls.append(name)
            if name in self.fails:
                return 3  # NVML_ERROR_NOT_SUPPORTED
            getattr(type(self), "_" + name, lambda *_: None)(self, *arguments)
            return 0

        return function

    def _nvmlDeviceGetCount_v2(self, count):
        count._obj.value = 2

    def _nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        handle._obj.value = 100 + index.value

    def _nvmlDeviceGetPowerUsage(self, handle, value):
        value._obj.value = 1000 * handle.value

    def _nvmlDeviceGetTemperature(self, handle, sensor, value):
        assert sensor == 0
        value._obj.value = 41

    def _nvmlDeviceGetClockInfo(self, handle, kind, value):
        value._obj.value = {1: 1980, 2: 2619}[kind]

    def _nvmlDeviceGetUtilizationRates(self, handle, used):
        used._obj.gpu, used._obj.memory = 97, 12

    def _nvmlDeviceGetMemoryInfo(self, handle, memory):
        memory._obj.total = 80 << 30

    def _nvmlDeviceGetName(self, handle, name, length):
        name.value = b"A GPU"
        assert length.value == ctypes.sizeof(name)

    def _nvmlSystemGetDriverVersion(self, version, length):
        version.value = b"580.1"

    def _nvmlDeviceGetCurrentClocksThrottleReasons(self, handle, reasons):
        reasons._obj.value = self.reasons


def test_gpus_and_their_readings():
    first, second = gpus(lambda name: Library())
    assert first.facts() == {"name": "A GPU", "memory_mb": 80 << 10, "driver": "580.1"}
    assert {name: second.read(name) for name in NAMES} == {
        "power": 101000.0, "temperature": 41.0, "clock": 1980.0, "memory-clock": 2619.0,
        "load": 97.0,
    }  # fmt: skip


@pytest.mark.parametrize(("reasons", "slowed"), [(0, False), (0x1 | 0x4, False), (0x40, True)])
def test_what_slows_a_gpu_down_is_told_from_settings(reasons, slowed):
    assert (
        bool(SLOWED & 0x40) and gpus(lambda name: Library(reasons=reasons))[0].is_slowed is slowed
    )


def test_what_a_gpu_does_not_tell_is_not_there():
    old = Library(lacks={"nvmlDeviceGetCurrentClocksThrottleReasons", "nvmlDeviceGetPowerUsage"})
    gpu, _ = gpus(lambda name: old)
    assert gpu.is_slowed is None and gpu.read("power") is None and gpu.read("clock") == 1980
    mute = Library(fails={"nvmlDeviceGetUtilizationRates", "nvmlDeviceGetName"})
    gpu, _ = gpus(lambda name: mute)
    assert gpu.read("load") is None and "name" not in gpu.facts()


def test_no_gpu_without_library_or_driver():
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    assert gpus(missing) == []
    assert gpus(lambda name: Library(fails={"nvmlInit_v2"})) == []
    assert gpus(lambda name: Library(fails={"nvmlDeviceGetCount_v2"})) == []
