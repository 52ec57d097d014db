"""The performance mode of a board: set while it measures, and set back however that ends."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from qsdnn.board import Care, MeasureOptions, State
from qsdnn.cli import group
from qsdnn_boards.local import LocalBoard
from qsdnn_boards.spec import spec
from qsdnn_boards.spec.spec import Spec, load_spec
from qsdnn_boards.ssh.board import SshBoard

from .server import are_gone, descendants, is_agent, wait_until

SHORT = MeasureOptions(budget_s=0.5, max_runs=30, again=0)
ENDLESS = MeasureOptions(budget_s=600.0, max_runs=10**6, precision=0.0)
SPEC = """
title = "A board of files"
run_on_hardware = false

[[performance]]
what = "governor"
needs_root = false
each = "{folder}/policy[0-9]*/scaling_governor"
query.run = ["cat", "{{path}}"]
value = '^(\\S+)$'
wanted = "performance"
set.run = ["{set}", "{{path}}"]
set.input = "performance"
restore.run = ["tee", "{{path}}"]
restore.input = "{{value}}"

[[sensors]]
name = "VDD_IN"
quantity = "power_mw"
files = ["{folder}/in1_input"]
times = ["{folder}/curr1_input"]
scale = 0.001

[[sensors]]
name = "cpu"
quantity = "temperature_c"
files = ["{folder}/temp"]
scale = 0.001
"""


class Files:
    """What a board of files has: a governor of two processors, a power rail, a thermometer."""

    def __init__(self, folder: Path, set_program: str = "tee") -> None:
        self.folder = folder
        self.governors = [folder / f"policy{number}/scaling_governor" for number in range(2)]
        for governor, value in zip(self.governors, ("ondemand", "schedutil"), strict=True):
            governor.parent.mkdir(parents=True)
            governor.write_text(value)
        (folder / "in1_input").write_text("5000\n")
        (folder / "curr1_input").write_text("700\n")
        self.heat(41.5)
        path = folder / "files.toml"
        path.write_text(SPEC.format(folder=folder, set=set_program))
        self.spec: Spec = load_spec(path)

    def heat(self, temperature_c: float) -> None:
        part = self.folder / "temp.part"
        part.write_text(f"{1000 * temperature_c:.0f}\n")
        part.replace(self.folder / "temp")

    def now(self) -> list[str]:
        return [governor.read_text().strip() for governor in self.governors]

    def are_set(self) -> bool:
        return self.now() == ["performance"] * 2

    def are_as_before(self) -> bool:
        return self.now() == ["ondemand", "schedutil"]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "sys")


class Machine:
    """A board of files: this machine, or one behind sshd."""

    def __init__(self, kind: str, address: Any, cache: Path) -> None:
        self.kind = kind
        self.cache = cache
        self._address = address

    def open(self, files: Files, **care: Any) -> LocalBoard | SshBoard:
        if self.kind == "local":
            board = LocalBoard(spec=files.spec)
            care.setdefault("performance_mode", True)
        else:
            board = SshBoard("lab", self._address, files.spec)
        board.care = Care(**care)
        return board

    def recipe(self, files: Files) -> Any:
        """From which another process makes the same board."""
        return self.kind, self._address, files.spec


@pytest.fixture(params=["ssh", "local"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> Machine:
    if request.param == "local":
        monkeypatch.setenv("QSDNN_BOARD_CACHE", str(tmp_path / "cache"))
        return Machine("local", None, tmp_path / "cache")
    address, server = (request.getfixturevalue(name) for name in ("address", "server"))
    return Machine("ssh", address, server.cache)


def once_measuring(act):
    heard = []

    def on_progress(text: str) -> None:
        if text.startswith("round") and not heard:
            heard.append(text)
            act()

    return on_progress


def agents() -> list[int]:
    """Those this test started, directly or behind sshd."""
    return [pid for pid in descendants(os.getpid()) if is_agent(pid)]


def test_it_is_set_while_measuring_and_set_back(machine, files, network):
    package, reference = network
    seen: list[list[str]] = []
    with machine.open(files) as board:
        board.probe()
        assert files.are_as_before()
        for _ in range(2):
            look = once_measuring(lambda: seen.append(files.now()))
            (record,) = board.measure([package], reference, SHORT, look)
            assert record.state is State.OK, record.error
            told = record.context["performance"]
            assert [knob["was"] for knob in told] == ["ondemand", "schedutil"]
            assert [knob["now"] for knob in told] == ["performance"] * 2
            assert record.notes == ()
    assert seen == [["performance"] * 2] * 2
    wait_until(files.are_as_before)
    assert not (machine.cache / "performance.json").exists()


def test_it_is_left_alone_when_that_is_asked_and_on_this_machine_unless_asked(
    machine, files, network
):
    package, reference = network
    wanted = None if machine.kind == "local" else False
    with machine.open(files, performance_mode=wanted) as board:
        seen: list[list[str]] = []
        look = once_measuring(lambda: seen.append(files.now()))
        (record,) = board.measure([package], reference, SHORT, look)
    assert seen == [["ondemand", "schedutil"]] and record.context["performance"] == []


def test_after_ctrl_c_it_is_set_back(machine, files, network):
    package, reference = network

    def interrupt() -> None:
        assert files.are_set()
        raise KeyboardInterrupt

    with machine.open(files) as board, pytest.raises(KeyboardInterrupt):
        board.measure([package], reference, ENDLESS, once_measuring(interrupt))
    wait_until(files.are_as_before)
    wait_until(lambda: not (machine.cache / "performance.json").exists())


HOST = """
import pickle, sys
from qsdnn.board import Care
from qsdnn_boards.local import LocalBoard
from qsdnn_boards.ssh.board import SshBoard
(kind, address, spec), package, reference, options = pickle.load(sys.stdin.buffer)
board = LocalBoard(spec=spec) if kind == "local" else SshBoard("lab", address, spec)
board.care = Care(performance_mode=True)
with board:
    board.measure([package], reference, options, lambda text: print(text, flush=True))
"""


def test_when_the_host_is_killed_it_is_set_back(machine, files, network):
    command = [sys.executable, "-c", HOST]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as host:
        pickle.dump((machine.recipe(files), *network, ENDLESS), host.stdin)
        host.stdin.close()
        assert any(line.startswith(b"round") for line in host.stdout)
        ours = agents()
        assert files.are_set()
        host.kill()
    wait_until(files.are_as_before)
    wait_until(lambda: not (machine.cache / "performance.json").exists())
    wait_until(lambda: are_gone(ours))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_when_the_agent_is_told_to_end_it_is_set_back(machine, files, network, number):
    package, reference = network

    def end() -> None:
        assert files.are_set()
        for pid in agents():
            os.kill(pid, number)

    with machine.open(files) as board:
        (lost,) = board.measure([package], reference, ENDLESS, once_measuring(end))
        assert lost.state is State.BOARD_LOST, lost
        wait_until(files.are_as_before)
        assert not (machine.cache / "performance.json").exists()


def kill_agent(machine: Machine, files: Files, network: Any) -> None:
    """Leaves a board as an agent does that is killed while it measures."""

    def kill() -> None:
        for pid in agents():
            os.kill(pid, signal.SIGKILL)

    with machine.open(files) as board:
        (lost,) = board.measure([network[0]], network[1], ENDLESS, once_measuring(kill))
    assert lost.state is State.BOARD_LOST
    assert files.are_set() and (machine.cache / "performance.json").exists()


def test_what_a_killed_agent_left_the_next_run_sets_back_and_keeps_the_true_original(
    machine, files, network
):
    package, reference = network
    kill_agent(machine, files, network)
    with machine.open(files) as board:
        (record,) = board.measure([package], reference, SHORT)
        assert files.are_set()
    assert [knob["was"] for knob in record.context["performance"]] == ["ondemand", "schedutil"]
    assert "a run that was killed had left" in record.notes[0]
    wait_until(files.are_as_before)


def test_the_next_agent_sets_back_also_when_it_is_not_to_set_anything(machine, files, network):
    kill_agent(machine, files, network)
    with machine.open(files, performance_mode=False) as board:
        board.probe()
        wait_until(files.are_as_before)


def test_check_tells_what_was_left_and_sets_it_back(
    machine, files, network, monkeypatch, tmp_path, request
):
    kill_agent(machine, files, network)
    specs = tmp_path / "specs"
    specs.mkdir()
    for name in (spec.GENERIC, "files"):
        (specs / f"{name}.toml").write_text((files.folder / "files.toml").read_text())
    monkeypatch.setattr(spec, "FOLDER", specs)
    monkeypatch.setenv("QSDNN_CONFIG", str(tmp_path / "config"))
    spec.specs.cache_clear()
    request.addfinalizer(spec.specs.cache_clear)
    name = "local"
    if machine.kind == "ssh":
        name, server = "lab", request.getfixturevalue("server")
        add = ["add", name, "--host", "127.0.0.1", "--port", str(server.port), "--spec", "files"]
        more = ["--user", server.user, "--identity-file", str(server.user_key)]
        assert CliRunner().invoke(group, ["boards", *add, *more]).exit_code == 0

    def check() -> list[dict[str, str]]:
        result = CliRunner().invoke(group, ["boards", "check", name, "--json"])
        return json.loads(result.stdout)["findings"]

    first = {finding["item"]: finding for finding in check()}
    assert files.are_as_before()
    told = first["performance mode"]
    assert told["verdict"] == "warning" and "a run that was killed had left it set" in told["found"]
    second = {finding["item"]: finding for finding in check()}
    assert "performance mode" not in second
    assert "ondemand, schedutil now, performance is wanted" in second["governor"]["found"]
    assert second["power_mw"]["found"] == "VDD_IN 3500"
    assert second["temperature_c"]["found"] == "cpu 42"


def test_a_setting_that_does_not_take_is_a_note_and_no_error(machine, tmp_path, network):
    package, reference = network
    files = Files(tmp_path / "stubborn", set_program="true")
    with machine.open(files) as board:
        (record,) = board.measure([package], reference, SHORT)
    assert record.state is State.OK
    (note,) = record.notes
    assert "it is still 'ondemand'; it may take a reboot" in note
    assert [knob["now"] for knob in record.context["performance"]] == ["ondemand", "schedutil"]


def test_sensors_are_recorded_and_a_hot_board_is_waited_for(machine, files, network):
    package, reference = network
    files.heat(74.0)
    heard: list[str] = []

    def on_progress(text: str) -> None:
        heard.append(text)
        if text.startswith("cooling"):
            files.heat(69.0)

    options = MeasureOptions(budget_s=3.0, max_runs=10**6, precision=0.0, again=0)
    with machine.open(files) as board:
        (record,) = board.measure([package], reference, options, on_progress)
    assert "cooling: 74 °C, waits for 70 °C" in heard
    assert record.state is State.OK, record
    assert record.context["cooling"]["temperature_c"] == 69.0
    assert record.context["before"]["sensors"]["power_mw"] == {"VDD_IN": pytest.approx(3500.0)}
    during = record.context["during"]
    assert during["samples"] >= 1
    assert during["sensors"]["temperature_c"]["cpu"] == {"min": 69.0, "mean": 69.0, "max": 69.0}
    assert record.context["power_mw"] == {"VDD_IN": pytest.approx(3500.0)}
    assert record.notes == ()


def test_a_board_that_stays_hot_is_measured_and_marked(machine, files, network):
    files.heat(74.0)
    with machine.open(files, cooling_limit_s=0.2) as board:
        (record,) = board.measure([network[0]], network[1], SHORT)
    assert record.state is State.OK
    assert record.notes == ("the board stays above 70 °C, and is measured hot",)
