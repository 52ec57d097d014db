"""Sensors and facts, read from file trees of boards that are not here."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsdnn_runtime.probe import board_facts, fingerprint
from qsdnn_runtime.sensors import judge, read_sensors, steal_share

PI = {
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "600000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1500000\n",
    "sys/class/thermal/thermal_zone0/temp": "48312\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
    "proc/loadavg": "0.25 0.10 0.05 1/123 456\n",
    "proc/stat": "cpu  10 0 10 70 0 0 0 10 5 0\ncpu0 1 2 3\n",
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd crc32\n"
    "CPU implementer\t: 0x41\nCPU part\t: 0xd08\nCPU variant\t: 0x0\n",
    "proc/meminfo": "MemTotal:        3884096 kB\nMemFree: 1 kB\n",
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n',
}
STEADY = [1.0, 1.001, 0.999] * 4


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_what_a_pi_says(tmp_path):
    assert read_sensors([0, 1], plant(tmp_path, PI)) == {
        "governor": "ondemand",
        "frequency_mhz": 600.0,
        "max_frequency_mhz": 1500.0,
        "temperature_c": 48.312,
        "throttle_count": 0,  # 0x50000: it was throttled since it started, and is not now
        "load": 0.25,
        "steal_ticks": 10,
        "all_ticks": 100,
    }


def test_absent_sensors_are_absent_keys(tmp_path):
    assert read_sensors([0], tmp_path) == {}
    assert steal_share({}, {}) is None
    assert judge(STEADY, 0.01, {}, {}) == "stable"
    plant(tmp_path, {"sys/class/thermal/thermal_zone0/temp": "unreadable"})
    assert read_sensors([0], tmp_path) == {}


def test_this_machine_can_be_read():
    assert {"load", "all_ticks"} <= set(read_sensors([0]))
    assert board_facts()["memory_mb"] > 0


@pytest.mark.parametrize(
    ("runs_ms", "after", "trust"),
    [
        (STEADY, {"temperature_c": 60.0, "frequency_mhz": 600.0}, "stable"),
        (STEADY, {"temperature_c": 85.0, "frequency_mhz": 1400.0}, "stable"),
        (STEADY, {"temperature_c": 85.0, "frequency_mhz": 1300.0}, "throttled"),
        (STEADY, {"throttle_count": 4}, "throttled"),
        (STEADY, {"throttle_count": 3}, "stable"),
        ([1.0, 1.1, 0.9] * 2, {}, "noisy"),
        ([1.0, 1.0], {}, "noisy"),
        ([1.0, 1.0, 1.0], {}, "stable"),
    ],
)
def test_trust(runs_ms, after, trust):
    before = {"throttle_count": 3, "max_frequency_mhz": 1500.0}
    assert judge(runs_ms, 0.01, before, {**before, **after}) == trust


def test_steal_is_a_share_of_the_time_between():
    before, after = {"steal_ticks": 10, "all_ticks": 100}, {"steal_ticks": 35, "all_ticks": 200}
    assert steal_share(before, after) == 0.25


def test_the_fingerprint_is_of_the_board_and_not_of_its_day(tmp_path):
    facts = board_facts(plant(tmp_path, PI))
    assert facts["cpu"] == "arm 0x41/0xd08/0x0"
    assert facts["model"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert (facts["isa"], facts["os"], facts["memory_mb"]) == (["asimd"], "debian 12", 3793)
    same = {**facts, "memory_mb": 3801, "kernel": "another", "python": "3.8.1"}
    assert fingerprint(same) == fingerprint(facts)
    assert len(fingerprint(facts)) == 16
    for key, value in [("isa", ["asimd", "i8mm"]), ("cores", 99), ("cpu", "x"), ("memory_mb", 1)]:
        assert fingerprint({**facts, key: value}) != fingerprint(facts)
