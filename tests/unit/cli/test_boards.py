from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from paramiko import ECDSAKey, PKey

from qsdnn.board import BoardInfo
from qsdnn.cli import group
from qsdnn.engine import EngineInfo
from qsdnn.errors import BoardError, InputError, QsdnnError
from qsdnn_boards.catalogue import AddressBook
from qsdnn_boards.command import add
from qsdnn_boards.spec.spec import specs
from qsdnn_boards.ssh import client as ssh_client

LAB = ("add", "lab", "--host", "10.0.0.2", "--port", "2222", "--user", "pi")


class Shown:
    """The key the board shows."""

    def __init__(self, key: PKey) -> None:
        self.key = key


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("QSDNN_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("QSDNN_BOARD_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """A board that can be reached as far as its host key."""
    board = Shown(ECDSAKey.generate())
    monkeypatch.setattr(ssh_client, "fetch_host_key", lambda address: board.key)
    return board


def boards(*args: str | Path, typed: str | None = None) -> Result:
    return CliRunner().invoke(group, ["boards", *map(str, args)], input=typed)


def document(*args: str | Path) -> Any:
    result = boards(*args, "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return json.loads(result.stdout)


def refusal(*args: str | Path) -> QsdnnError:
    """The error of a command that must fail."""
    result = boards(*args)
    assert isinstance(result.exception, QsdnnError), result.output
    return result.exception


def test_lists_known_boards_and_those_with_an_address(shown: Shown) -> None:
    assert boards(*LAB, "--accept-host-key").exit_code == 0
    text = boards("list").stdout
    assert all(name in text for name in specs() if name != "generic-linux")
    assert "pi@10.0.0.2:2222" in text
    listed = document("list")
    assert [board["name"] for board in listed["boards"]] == ["lab"]
    assert [spec["name"] for spec in listed["specs"]] == list(specs())


@pytest.mark.parametrize("name", specs())
def test_shows_facts_commands_and_sensors(name: str) -> None:
    text = boards("show", name).stdout
    spec = specs()[name]
    assert all(fact.value in text for fact in spec.facts)
    assert all(setting.what in text for setting in spec.performance)
    assert all(sensor.name in text for sensor in spec.sensors)
    assert "not run on hardware yet" in text
    assert document("show", name)["spec"]["title"] == spec.title


class ThisMachine:
    """A local board that is asked for nothing but what it is."""

    def __enter__(self) -> ThisMachine:
        return self

    def __exit__(self, *_: object) -> None: ...

    def probe(self) -> BoardInfo:
        engines = {"blas": EngineInfo(name="blas", version="1.2")}
        facts = {"cpu": "a processor", "isa": ["avx", "fma"], "cores": 2, "broken_engines": {}}
        return BoardInfo(name="local", fingerprint="12ab", engines=engines, facts=facts)


def test_shows_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qsdnn_boards.command.show.open_board", lambda name: ThisMachine())
    text = boards("show", "local").stdout
    assert all(line in text for line in ("cpu: a processor", "isa: avx fma", "blas: 1.2"))
    shown = document("show", "local")
    assert shown["board"]["facts"]["cores"] == 2 and shown["address"] is None


def test_shows_what_to_type_on_the_board() -> None:
    text = boards("show", "jetson-nano").stdout
    assert "sudo nvpmodel -m VALUE" in text
    assert "sudo jetson_clocks --restore clocks.state" in text
    text = boards("show", "raspberry-pi-4b").stdout
    policies = "/sys/devices/system/cpu/cpufreq/policy[0-9]*/scaling_governor"
    assert f"echo performance | sudo tee {policies}" in text


def test_an_unknown_key_is_refused_with_the_command_that_accepts_it(
    shown: Shown, home: Path
) -> None:
    identity_file = home / "my key"
    identity_file.write_text("")
    error = refusal(*LAB, "--identity-file", identity_file, "--spec", "raspberry-pi-4b")
    assert isinstance(error, BoardError)
    assert not AddressBook().entries()
    words = shlex.split(error.hint.partition(": ")[2])
    assert words[:2] == ["qsdnn", "boards"]
    result = boards(*words[2:])
    assert result.exit_code == 0
    assert shown.key.fingerprint in result.stderr
    entry = AddressBook().entries()["lab"]
    assert entry.spec == "raspberry-pi-4b"
    assert entry.address.identity_file == identity_file


@pytest.mark.parametrize(("answer", "added"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_asks_at_a_terminal(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, answer: str, added: bool
) -> None:
    monkeypatch.setattr(add, "_is_terminal", lambda: True)
    result = boards(*LAB, typed=answer)
    assert shown.key.fingerprint in result.stderr
    assert ("lab" in AddressBook().entries()) is added


def test_a_known_key_needs_no_answer_and_a_changed_one_the_flag(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert document(*LAB, "--accept-host-key")["host_key"]["was"] == "unknown"
    assert document(*LAB)["host_key"] == {"fingerprint": shown.key.fingerprint, "was": "known"}
    monkeypatch.setattr(add, "_is_terminal", lambda: True)
    shown.key = ECDSAKey.generate()
    assert "changed" in refusal(*LAB).message
    assert document("add", "lab", "--accept-host-key")["host_key"]["was"] == "changed"
    assert document("add", "lab")["host_key"]["was"] == "known"


def test_add_changes_what_is_given(shown: Shown) -> None:
    boards(*LAB, "--accept-host-key", "--spec", "jetson-nano")
    assert "changed lab" in boards("add", "lab", "--user", "me").stdout
    entry = AddressBook().entries()["lab"]
    assert (entry.address.user, entry.address.port, entry.spec) == ("me", 2222, "jetson-nano")


def test_a_board_named_as_its_kind_is_one(shown: Shown) -> None:
    boards("add", "jetson-tx2", "--host", "tx2", "--accept-host-key")
    assert document("show", "jetson-tx2")["address"]["spec"] == "jetson-tx2"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("chek",), "did you mean 'boards check'"),
        (("show", "jetson-nanno"), "did you mean 'jetson-nano'"),
        (("add", "jetson-nano"), "qsdnn boards add jetson-nano --host ADDRESS"),
        (("add", "local", "--host", "a"), "is this machine"),
        (("add", "a/b", "--host", "a"), "cannot be a board's name"),
        (("add", "lab", "--host", "a b"), "cannot be its host"),
        (("add", "lab", "--host", "a", "--spec", "jetson"), "did you mean 'jetson-"),
        (("remove", "lab"), "has no board 'lab'"),
        (("check", "jetson-nano"), "has no address yet"),
        (("check", "loca"), "did you mean 'local'"),
        (("setup", "lab"), "qsdnn boards add lab --host ADDRESS"),
        (("setup", "local"), "is this machine"),
        (("setup", "me@lab", "--engines", "opnvino"), "did you mean 'openvino'"),
    ],
)
def test_bad_input_is_an_error_with_a_way_on(args: tuple[str, ...], words: str) -> None:
    error = refusal(*args)
    assert isinstance(error, InputError)
    assert words in str(error)


def test_removes(shown: Shown) -> None:
    boards(*LAB, "--accept-host-key")
    assert "did you mean 'lab'" in str(refusal("remove", "labb"))
    assert document("remove", "lab")["removed"]["host"] == "10.0.0.2"
    assert not AddressBook().entries()


def test_checks_this_machine() -> None:
    found = document("check", "local")
    assert found["reached"]
    assert len(found["board"]["fingerprint"]) == 16
    verdicts = {finding["item"]: finding["verdict"] for finding in found["findings"]}
    ready = {"reach", "python", "numpy", "blas", "onnxruntime", "cores", "memory"}
    assert {item for item, verdict in verdicts.items() if verdict == "ok"} >= ready
    assert "host key" not in verdicts


def test_a_board_that_cannot_be_reached_ends_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_client, "PAUSES_S", ())
    result = boards("check", "me@127.0.0.1:1")
    assert result.exit_code == 3
    assert "missing" in result.stdout
    found = document("check", "me@127.0.0.1:1")
    assert not found["reached"]
    assert [finding["item"] for finding in found["findings"]] == ["reach"]
    assert found["findings"][0]["fix"]


@pytest.mark.parametrize("name", ["list", "show", "add", "remove", "check", "setup"])
def test_help_has_examples(name: str) -> None:
    assert f"qsdnn boards {name}" in boards(name, "--help").stdout
    assert name in boards("--help").stdout
