"""Sensors and facts, read from file trees of boards that are not here."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsdnn_runtime.board.probe import board_facts, fingerprint
from qsdnn_runtime.board.sensors import SensorReader, Sensors

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


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_what_a_pi_says(tmp_path):
    assert Sensors([0, 1], root=plant(tmp_path, PI)).read() == {
        "governor": "ondemand",
        "frequency_mhz": 600.0,
        "max_frequency_mhz": 1500.0,
        "temperature_c": 48.312,
        "throttling": False,  # 0x50000: it was throttled since it started, and is not now
        "load": 0.25,
        "all_ticks": 100,
        "busy_ticks": 20,
        "steal_ticks": 10,
    }


def test_absent_sensors_are_absent_keys(tmp_path):
    assert Sensors([0], root=tmp_path).read() == {}
    assert Sensors([0], root=tmp_path).temperature_c() is None
    zone = {"sys/class/thermal/thermal_zone0/temp": "unreadable", "proc/loadavg": "", "x": ""}
    assert Sensors([0], root=plant(tmp_path, zone)).read() == {}


def test_this_machine_can_be_read():
    assert {"load", "all_ticks"} <= set(Sensors([0]).read())
    assert board_facts()["memory_mb"] > 0


JETSON = {
    "sys/class/thermal/thermal_zone0/type": "PMIC-Die\n",
    "sys/class/thermal/thermal_zone0/temp": "100000\n",
    "sys/class/thermal/thermal_zone1/type": "CPU-therm\n",
    "sys/class/thermal/thermal_zone1/temp": "41500\n",
    "sys/class/thermal/thermal_zone2/type": "GPU-therm\n",
    "sys/class/thermal/thermal_zone2/temp": "39000\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in1_input": "5016\n",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr1_input": "680\n",
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "2409\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "123456789\n",
    "sys/devices/gpu.0/load": "753\n",
}


def sensor(name, quantity, scale, **where):
    return {
        "name": name, "quantity": quantity, "scale": scale,
        "zones": [], "files": [], "times": [], "nvml": "", **where,
    }  # fmt: skip


NAMED = [
    sensor("cpu", "temperature_c", 0.001, zones=["cpu-thermal", "CPU-therm"]),
    sensor("gpu", "temperature_c", 0.001, zones=["GPU-therm"]),
    sensor("soc", "temperature_c", 0.001, zones=["SOC-therm"]),
    sensor(
        "VDD_CPU", "power_mw", 0.001,
        files=["/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon*/in1_input"],
        times=["/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon*/curr1_input"],
    ),
    sensor(
        "no current", "power_mw", 0.001,
        files=["/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon*/in1_input"], times=["/no"],
    ),
    sensor(
        "POM_5V_IN", "power_mw", 1,
        files=["/no", "/sys/bus/i2c/drivers/ina3221x/6-0040/iio:device*/in_power0_input"],
    ),
    sensor("package", "energy_j", 1e-6, files=["/sys/class/powercap/intel-rapl:0/energy_uj"]),
    sensor("gpu", "load_percent", 0.1, files=["/sys/devices/gpu.0/load"]),
]  # fmt: skip


def test_the_spec_s_sensors_are_read_by_name_in_their_units(tmp_path):
    root = plant(tmp_path, JETSON)
    assert SensorReader(NAMED, root).read() == {
        "temperature_c": {"cpu": 41.5, "gpu": 39.0},
        "power_mw": {"VDD_CPU": pytest.approx(5016 * 680 / 1000), "POM_5V_IN": 2409.0},
        "energy_j": {"package": pytest.approx(123.456789)},
        "load_percent": {"gpu": pytest.approx(75.3)},
    }
    assert [value is None for value in SensorReader(NAMED, root).each()] == [
        False, False, True, False, True, False, False, False,
    ]  # fmt: skip


def test_the_temperature_is_the_spec_s_and_any_zone_s_without_one(tmp_path):
    root = plant(tmp_path, JETSON)
    assert Sensors([0], NAMED, root).temperature_c() == 41.5
    assert Sensors([0], NAMED, root).read()["temperature_c"] == 41.5
    assert Sensors([0], [], root).temperature_c() == 100.0


def test_a_sensor_that_sleeps_is_read_when_it_wakes(tmp_path):
    root = plant(tmp_path, {**JETSON, "sys/devices/gpu.0/load": ""})
    reader = SensorReader(NAMED, root)
    assert "load_percent" not in reader.read()
    plant(root, JETSON)
    assert reader.read()["load_percent"] == {"gpu": pytest.approx(75.3)}


@pytest.mark.parametrize(
    ("files", "throttling"),
    [
        ({"sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n"}, True),
        ({"sys/class/thermal/cooling_device0/type": "thermal-cpufreq-0"}, False),
        ({"sys/class/thermal/cooling_device0/type": "cpufreq-cpu0",
          "sys/class/thermal/cooling_device0/cur_state": "2"}, True),
        ({"sys/class/thermal/cooling_device0/type": "pwm-fan",
          "sys/class/thermal/cooling_device0/cur_state": "2"}, None),
    ],
)  # fmt: skip
def test_the_firmware_and_the_kernel_say_when_they_slow_down(tmp_path, files, throttling):
    idle = {"sys/class/thermal/cooling_device0/cur_state": "0"}
    assert Sensors([0], root=plant(tmp_path, {**idle, **files})).read().get("throttling") is (
        throttling
    )


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
