from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest

from qsdnn.errors import InputError
from qsdnn_boards.spec.spec import FOLDER, GENERIC, PLACEHOLDER, Command, Spec, load_spec, specs

KNOWN = (
    "raspberry-pi-3b-plus raspberry-pi-4b jetson-nano jetson-tx2 jetson-agx-xavier "
    "jetson-agx-orin intel-nuc imx8m-nano stm32mp1 firefly-rk3399 khadas-vim3 coral-dev "
    "generic-linux"
)
GOOD = """
title = "A board"
run_on_hardware = false

[[facts]]
name = "cpu"
value = "fast"
source = "a data sheet"

[[performance]]
what = "power mode"
needs_root = true
query.run = ["nvpmodel", "-q"]
value = '^(\\d+)$'
wanted = "0"
set.run = ["nvpmodel", "-m", "0"]
restore.run = ["nvpmodel", "-m", "{value}"]

[[sensors]]
name = "cpu"
quantity = "temperature_c"
zones = ["cpu-thermal"]
scale = 0.001
"""


def load(folder: Path, text: str) -> Spec:
    path = folder / "board.toml"
    path.write_text(text, encoding="utf-8")
    return load_spec(path)


def commands(spec: Spec) -> list[Command]:
    return [
        command
        for setting in spec.performance
        for command in (setting.query, setting.set, setting.restore)
    ]


def test_the_boards_of_the_papers_are_known() -> None:
    assert set(specs()) == {*KNOWN.split(), "generic-cuda"}


@pytest.mark.parametrize("spec", specs().values(), ids=lambda spec: spec.name)
def test_a_spec_says_where_everything_is_from(spec: Spec) -> None:
    assert spec.sources
    assert spec.facts or spec.name.startswith("generic-")
    assert spec.performance and spec.sensors
    assert not spec.run_on_hardware  # none was: say so when one is


@pytest.mark.parametrize("spec", specs().values(), ids=lambda spec: spec.name)
def test_a_command_is_a_list_that_no_shell_reads(spec: Spec) -> None:
    for command in commands(spec):
        assert all(isinstance(word, str) and word for word in command.run)
        assert command.run[0] not in {"sh", "bash", "sudo", "env"}
        assert not re.search(r"[;&|<>$`]", " ".join(command.run))


@pytest.mark.parametrize("spec", specs().values(), ids=lambda spec: spec.name)
def test_a_setting_can_be_undone(spec: Spec) -> None:
    for setting in spec.performance:
        told = " ".join((*setting.restore.run, setting.restore.input))
        kept = " ".join(setting.query.run)
        assert "{value}" in told if setting.value else "{state}" in told and "{state}" in kept
        assert bool(setting.wanted) == bool(setting.value)


@pytest.mark.parametrize("spec", specs().values(), ids=lambda spec: spec.name)
def test_sensors_read_files_of_sys(spec: Spec) -> None:
    names = [(sensor.name, sensor.quantity) for sensor in spec.sensors]
    assert len(set(names)) == len(names)
    for sensor in spec.sensors:
        assert all(path.startswith("/sys/") for path in (*sensor.files, *sensor.times))
        assert not any(PLACEHOLDER.search(path) for path in sensor.files)


def test_the_mode_of_a_jetson_is_found_in_what_nvpmodel_prints() -> None:
    mode, clocks = specs()["jetson-nano"].performance
    found = re.search(mode.value, "NV Power Mode: 5W\n1\n", re.MULTILINE)
    assert found is not None and found[1] == "1" != mode.wanted
    assert clocks.set.run == ("jetson_clocks",)


def test_the_governor_is_set_for_each_policy() -> None:
    (governor,) = specs()[GENERIC].performance
    policy = "/sys/devices/system/cpu/cpufreq/policy10/scaling_governor"
    assert fnmatch.fnmatch(policy, governor.each)
    assert (governor.set.input, governor.restore.input) == ("performance", "{value}")


def test_a_spec_is_read(tmp_path: Path) -> None:
    spec = load(tmp_path, GOOD)
    assert (spec.name, spec.title, spec.facts[0].source) == ("board", "A board", "a data sheet")
    assert spec.performance[0].restore.run == ("nvpmodel", "-m", "{value}")


@pytest.mark.parametrize(
    ("old", "new", "key", "problem"),
    [
        ('title = "A board"', "", "title", "missing"),
        ('title = "A board"', 'titel = "x"', "titel", "did you mean 'title'"),
        ('title = "A board"', 'title = ""', "title", "empty"),
        ("run_on_hardware = false", "run_on_hardware = 0", "run_on_hardware", "true or false"),
        ('source = "a data sheet"', "", "facts[0].source", "missing"),
        ('query.run = ["nvpmodel", "-q"]', 'query.run = "nvpmodel -q"', "query.run", "a list"),
        ('query.run = ["nvpmodel", "-q"]', "query.run = []", "performance[0].query.run", "program"),
        ('["nvpmodel", "-m", "0"]', '["nvpmodel", 0]', "performance[0].set.run[1]", "a text"),
        ('["nvpmodel", "-m", "0"]', '["nvpmodel", "{value}"]', "set.run", "{value}"),
        ('"{value}"', '"{path}"', "performance[0].restore.run", "{path}"),
        (r"'^(\d+)$'", "'('", "performance[0].value", "regular expression"),
        (r"'^(\d+)$'", "'x'", "performance[0].value", "one group"),
        ('"temperature_c"', '"heat"', "sensors[0].quantity", "known: temperature_c"),
        ('zones = ["cpu-thermal"]', "", "sensors[0].files", "either"),
        ("scale = 0.001", 'scale = "m"', "sensors[0].scale", "a number"),
        ("[[sensors]]", "[sensors]", "sensors", "a list of tables"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(
    tmp_path: Path, old: str, new: str, key: str, problem: str
) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert str(tmp_path / "board.toml") in caught.value.message
    assert f"{key}: " in caught.value.message
    assert problem in caught.value.message


@pytest.mark.parametrize("content", [b"title = ", b"\xff\xfe"])
def test_what_is_no_toml_is_said_with_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "board.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"board\.toml: not a TOML file"):
        load_spec(path)


def test_the_files_are_toml() -> None:
    for path in FOLDER.glob("*.toml"):
        tomllib.loads(path.read_text(encoding="utf-8"))
