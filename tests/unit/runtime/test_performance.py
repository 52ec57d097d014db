"""The performance mode: real programs on files that stand for a governor's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from qsdnn_runtime.board.knob import knobs, run_program
from qsdnn_runtime.board.performance import PerformanceMode

NO_INPUT = {"input": ""}


class Governors:
    """Files that stand for those of two processors, and the setting that is done for each."""

    def __init__(self, folder: Path) -> None:
        self.files = [folder / f"policy{number}" / "scaling_governor" for number in range(2)]
        for file in self.files:
            file.parent.mkdir(parents=True)
        self.put("ondemand", "schedutil")
        self.setting = {
            "what": "governor",
            "needs_root": False,
            "each": f"{folder}/policy[0-9]*/scaling_governor",
            "query": {"run": ["cat", "{path}"], **NO_INPUT},
            "value": r"^(\S+)$",
            "wanted": "performance",
            "set": {"run": ["tee", "{path}"], "input": "performance"},
            "restore": {"run": ["tee", "{path}"], "input": "{value}"},
        }

    def put(self, *values: str) -> None:
        for file, value in zip(self.files, values, strict=True):
            file.write_text(value + "\n")

    def now(self) -> list[str]:
        return [file.read_text().strip() for file in self.files]


@pytest.fixture
def governors(tmp_path: Path) -> Governors:
    return Governors(tmp_path / "cpufreq")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "cache"
    root.mkdir()
    return root


def clocks(folder: Path) -> dict:
    """A setting whose program keeps what held in a file of its own, as jetson_clocks does."""
    folder.mkdir()
    (folder / "clock").write_text("600")
    program = folder / "clocks"
    program.write_text(
        f"""#!/bin/sh
case "$1" in
--store) test ! -e "$2" && cat {folder}/clock > "$2" ;;
--restore) cat "$2" > {folder}/clock ;;
*) echo 1500 > {folder}/clock ;;
esac
"""
    )
    program.chmod(0o755)
    return {
        "what": "clocks",
        "needs_root": False,
        "each": "",
        "query": {"run": [str(program), "--store", "{state}"], **NO_INPUT},
        "value": "",
        "wanted": "",
        "set": {"run": [str(program)], **NO_INPUT},
        "restore": {"run": [str(program), "--restore", "{state}"], **NO_INPUT},
    }


def test_it_is_set_once_and_set_back_to_what_held(governors, root, tmp_path):
    settings = [governors.setting, clocks(tmp_path / "jetson")]
    for _ in range(2):  # the program's own file is there the second time
        mode = PerformanceMode(root)
        reports, notes = mode.set(settings)
        assert governors.now() == ["performance"] * 2 and notes == []
        assert (tmp_path / "jetson/clock").read_text().strip() == "1500"
        assert [report.get("was") for report in reports] == ["ondemand", "schedutil", None]
        assert [report.get("now") for report in reports] == ["performance", "performance", None]
        assert mode.set(settings) == (reports, [])
        kept = json.loads((root / "performance.json").read_text())["entries"]
        assert [entry["was"] for entry in kept] == ["ondemand", "schedutil", ""]
        recovery = mode.restore()
        assert len(recovery.done) == 3 and not recovery.failed
        assert governors.now() == ["ondemand", "schedutil"]
        assert (tmp_path / "jetson/clock").read_text().strip() == "600"
        assert not (root / "performance.json").exists()
    assert mode.restore() == PerformanceMode(root).recover()


def test_what_holds_already_is_left_alone(governors, root):
    governors.put("performance", "ondemand")
    mode = PerformanceMode(root)
    mode.set([governors.setting])
    (entry,) = json.loads((root / "performance.json").read_text())["entries"]
    assert entry["path"] == str(governors.files[1])
    mode.restore()
    assert governors.now() == ["performance", "ondemand"]


KILLED = """
import json, os, signal, sys
from pathlib import Path
from qsdnn_runtime.board.performance import PerformanceMode
PerformanceMode(Path(sys.argv[1])).set(json.loads(sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_set(root: Path, *settings: dict) -> None:
    """Sets the mode in a process that is killed then."""
    command = [sys.executable, "-c", KILLED, str(root), json.dumps(settings)]
    assert subprocess.run(command).returncode == -signal.SIGKILL


def test_what_a_killed_process_left_is_set_back_to_what_truly_held(governors, root):
    leave_set(root, governors.setting)
    assert governors.now() == ["performance"] * 2
    recovery = PerformanceMode(root).recover()
    assert governors.now() == ["ondemand", "schedutil"]
    assert "set back" in recovery.notes()[0] and "to 'schedutil'" in recovery.notes()[0]
    assert PerformanceMode(root).recover().notes() == []


def test_who_is_killed_in_the_midst_of_setting_has_written_down_all(governors, root):
    deadly = {
        **{key: governors.setting[key] for key in ("needs_root", "value")},
        "what": "deadly",
        "each": "",
        "query": {"run": ["echo", "quiet"], "input": ""},
        "wanted": "loud",
        "set": {"run": ["sh", "-c", "kill -9 $PPID"], "input": ""},
        "restore": {"run": ["true"], "input": ""},
    }
    leave_set(root, governors.setting, deadly)
    assert governors.now() == ["performance"] * 2
    assert not PerformanceMode(root).recover().failed
    assert governors.now() == ["ondemand", "schedutil"]


def test_the_next_run_sets_back_before_it_asks_what_holds(governors, root):
    leave_set(root, governors.setting)
    mode = PerformanceMode(root)
    reports, notes = mode.set([governors.setting])
    assert [report["was"] for report in reports] == ["ondemand", "schedutil"]
    assert governors.now() == ["performance"] * 2 and "was killed" in notes[0]
    mode.restore()
    assert governors.now() == ["ondemand", "schedutil"]


def test_what_cannot_be_set_back_stays_known(governors, root):
    broken = {**governors.setting, "restore": {"run": ["false"], "input": ""}}
    leave_set(root, broken)
    notes = PerformanceMode(root).recover().notes()
    assert len(notes) == 2 and all("cannot be set back" in note for note in notes)
    assert all("false ended with code 1" in note for note in notes)
    mode = PerformanceMode(root)
    reports, _ = mode.set([broken])
    assert [report["was"] for report in reports] == ["ondemand", "schedutil"]
    assert len(mode.restore().failed) == 2
    entries = json.loads((root / "performance.json").read_text())["entries"]
    for entry in entries:  # somebody mends it
        entry["setting"] = governors.setting
    (root / "performance.json").write_text(json.dumps({"entries": entries}))
    assert not PerformanceMode(root).recover().failed
    assert governors.now() == ["ondemand", "schedutil"]


def test_while_one_has_set_it_nobody_else_touches_it(governors, root):
    mode = PerformanceMode(root)
    mode.set([governors.setting])
    other = PerformanceMode(root, wait_s=0.0)
    assert other.recover().busy
    reports, notes = other.set([governors.setting])
    assert reports == [] and "another process has set it" in notes[0]
    other.restore()
    assert governors.now() == ["performance"] * 2
    mode.restore()


def test_after_the_end_nothing_is_set(governors, root):
    mode = PerformanceMode(root)
    mode.restore()
    mode.set([governors.setting])
    assert governors.now() == ["ondemand", "schedutil"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"set": {"run": ["true"], "input": ""}}, "'; it may take a reboot"),
        ({"set": {"run": ["false"], "input": ""}}, "false ended with code 1"),
        ({"set": {"run": ["no-such-program"], "input": ""}}, "no-such-program: No such file"),
        ({"query": {"run": ["cat", "/no/such"], "input": ""}}, "cat: /no/such: No such file"),
        ({"query": {"run": ["echo", "a b"], "input": ""}}, "echo said 'a b'"),
        ({"each": "/no/such*/file"}, "this board has no /no/such*/file"),
    ],
)
def test_what_cannot_be_set_is_told_and_no_error(governors, root, changes, problem):
    mode = PerformanceMode(root)
    reports, notes = mode.set([{**governors.setting, **changes}])
    assert all(problem in report["problem"] for report in reports)
    assert [note for note in notes if problem in note] == notes and len(notes) == 1
    assert governors.now() == ["ondemand", "schedutil"]
    assert not mode.restore().failed and not (root / "performance.json").exists()


def test_looking_changes_nothing(governors, root, tmp_path):
    settings = [governors.setting, clocks(tmp_path / "jetson")]
    found = PerformanceMode(root).look(settings)
    assert [report.get("now") for report in found] == ["ondemand", "schedutil", None]
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "{}", '{"entries": [{"was": 1}]}'])
def test_a_damaged_file_is_kept_and_nothing_is_set(governors, root, content):
    (root / "performance.json").write_text(content)
    mode = PerformanceMode(root)
    reports, notes = mode.set([governors.setting])
    assert reports == [] and "is damaged" in notes[0]
    mode.restore()
    assert (root / "performance.json").read_text() == content
    assert governors.now() == ["ondemand", "schedutil"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files of other users")
def test_what_another_user_wrote_is_not_run(governors, root):
    leave_set(root, governors.setting)
    os.chown(root / "performance.json", 65534, 65534)
    (failed,) = PerformanceMode(root).recover().failed
    assert "belongs to another user" in failed
    assert governors.now() == ["performance"] * 2


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_without_root_the_user_is_told_what_is_needed():
    """As a user without sudo, on files that only root may write."""
    code = """
import json, os, sys
from pathlib import Path
from qsdnn_runtime.board.performance import PerformanceMode
os.setgid(65534), os.setuid(65534)
mode = PerformanceMode(Path(sys.argv[1]))
print(json.dumps(mode.set(json.loads(sys.argv[2]))))
assert not mode.restore().failed
"""
    with tempfile.TemporaryDirectory() as name:  # pytest's own only root may look into
        folder = Path(name)
        folder.chmod(0o755)
        governors = Governors(folder / "cpufreq")
        root = folder / "theirs"
        root.mkdir()
        root.chmod(0o777)
        settings = json.dumps([{**governors.setting, "needs_root": True}])
        ran = subprocess.run(
            [sys.executable, "-c", code, str(root), settings], capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        assert governors.now() == ["ondemand", "schedutil"]
        assert not (root / "performance.json").exists()
    reports, notes = json.loads(ran.stdout)
    assert [report["was"] for report in reports] == ["ondemand", "schedutil"]
    assert "needs root: log in as root, or let sudo run tee there" in notes[0]


def test_who_is_not_root_asks_plainly_and_sets_with_sudo(governors, root, tmp_path, monkeypatch):
    """With a program in the place of sudo that writes down how it was called, and does it."""
    sudo = tmp_path / "bin/sudo"
    sudo.parent.mkdir()
    log = f"echo called with $* >> {tmp_path}/log"
    sudo.write_text(f'#!/bin/sh\n{log}\nshift 2\nexec "$@"\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sudo.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (knob, _) = knobs([{**governors.setting, "needs_root": True}], root)
    assert knob.ask() == ("ondemand", "") and not (tmp_path / "log").exists()
    assert knob.turn() == "" and knob.turn_back("ondemand") == ""
    assert (tmp_path / "log").read_text().splitlines() == [f"called with -n -- tee {knob.path}"] * 2


def test_a_program_that_hangs_is_ended(tmp_path):
    outcome = run_program(["sleep", "600"], limit_s=0.2)
    assert outcome.error == "sleep 600 did not end within 0.2 s"


def test_no_shell_reads_what_is_filled_in(governors, root, tmp_path):
    evil = tmp_path / "cpufreq/policy9; touch x"
    evil.mkdir()
    (evil / "scaling_governor").write_text("$(touch y)\n")
    setting = {**governors.setting, "value": "^(.+)$"}
    (knob,) = [knob for knob in knobs([setting], root) if "policy9" in knob.path]
    assert knob.ask() == ("$(touch y)", "")
    assert knob.turn() == "" and knob.turn_back("$(touch y)") == ""
    assert (evil / "scaling_governor").read_text() == "$(touch y)"
    assert not [name for name in ("x", "y") if Path(name).exists()]
