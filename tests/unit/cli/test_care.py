"""How a board is treated, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from qsdnn.board import Care
from qsdnn.cli import group
from qsdnn.errors import QsdnnError
from qsdnn_boards.link import board as agent_board
from qsdnn_boards.link import wire
from qsdnn_boards.local import LocalBoard
from qsdnn_boards.spec.spec import specs
from qsdnn_boards.ssh.board import SshBoard

COMMANDS = ["search", "replay", "bench"]


class Opened(Exception):
    """A board was about to be opened."""


@pytest.fixture
def care_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The care with which a command opens its board."""

    def open_board(name: str, care: Care) -> Any:
        raise Opened(care)

    for module in ("api", "board"):  # each command takes it from one of them
        monkeypatch.setattr(f"qsdnn.{module}.open_board", open_board)
    monkeypatch.chdir(tmp_path)

    def run(command: str, *options: str) -> Care:
        result = CliRunner().invoke(group, [command, "x.onnx", *options])
        if not isinstance(result.exception, Opened):
            raise result.exception or AssertionError(result.output)
        return result.exception.args[0]

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_say_how_the_board_is_treated(care_of, command):
    usual = care_of(command)
    assert (usual.performance_mode, usual.max_temperature_c, usual.cooling_limit_s) == (
        None, None, 180.0,
    )  # fmt: skip
    asked = care_of(
        command, "--performance-mode", "--max-temperature", "55", "--cooling-time", "9m"
    )
    assert (asked.performance_mode, asked.max_temperature_c, asked.cooling_limit_s) == (
        True, 55.0, 540.0,
    )  # fmt: skip
    assert care_of(command, "--no-performance-mode").performance_mode is False
    assert care_of(command, "--cold").cold and not usual.cold


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--cooling-time", "soon", "--cooling-time soon: not a duration"),
        ("--cooling-time", "0", "no time at all"),
        ("--max-temperature", "hot", "--max-temperature"),
        ("--max-temperature", "-1", "--max-temperature"),
    ],
)
def test_bad_input_is_an_error(care_of, command, option, value, words):
    result = CliRunner().invoke(group, [command, "x.onnx", option, value])
    said = str(result.exception) if isinstance(result.exception, QsdnnError) else result.output
    assert words in said and result.exit_code != 0


def test_over_ssh_the_mode_is_set_and_on_this_machine_it_is_not():
    spec = specs()["raspberry-pi-3b-plus"]

    def settings(board: type[agent_board.ServedBoard], **care: Any) -> list[str]:
        asked = wire.conditions(spec, Care(**care), perform=board.performs)
        return [setting["what"] for setting in asked["performance"]]

    whole = [setting.what for setting in spec.performance]
    assert settings(SshBoard) == settings(LocalBoard, performance_mode=True) == whole
    assert settings(LocalBoard) == settings(SshBoard, performance_mode=False) == []


@pytest.mark.parametrize(("asked", "limit_c"), [(None, 55.0), (0.0, 0.0), (90.0, 90.0)])
def test_the_limit_is_the_board_s_unless_one_is_given(asked, limit_c):
    spec = specs()["raspberry-pi-3b-plus"]
    conditions = wire.conditions(spec, Care(max_temperature_c=asked), perform=True)
    assert conditions["max_temperature_c"] == limit_c
