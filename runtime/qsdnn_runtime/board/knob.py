"""Knobs: the parts of the performance mode, turned by programs that the board's spec names.

A host also runs this file, and those that import it, on boards that have no runtime (see
`qsdnn_boards.setup.script`): the file needs nothing but the standard library, and no relative
import.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from qsdnn_runtime.board.sensors import matching

# The time limit of a program: nvpmodel and jetson_clocks take seconds; a program that hangs must
# not keep the board for ever.
LIMIT_S = 20.0
# Folders with such programs that are not in the PATH of a login over SSH.
FURTHER_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
SUDO = ("sudo", "-n", "--")
OUTPUT_BYTES = 1 << 16
PLACEHOLDER = re.compile(r"\{(path|value|state)\}")
NEEDS_ROOT = "; it needs root: log in as root, or let sudo run %s there without a password"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a program.

    Attributes:
        text: The program's standard output.
        error: Why the program failed, in one line; empty when it did not fail.
    """

    text: str
    error: str = ""


def run_program(
    arguments: Sequence[str], text: str = "", *, as_root: bool = False, limit_s: float = LIMIT_S
) -> Outcome:
    """Runs a program to its end; no shell reads the arguments, and no terminal is asked.

    Args:
        arguments: The program's name, then its arguments.
        text: The program's standard input.
        as_root: Whether to run the program as root: through ``sudo``, which must not ask for a
            password, unless this process is root's.
        limit_s: The time in seconds after which the program is killed.
    """
    command = [*SUDO, *arguments] if as_root and os.geteuid() else list(arguments)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out:
        given.write(text.encode())
        given.seek(0)
        with tempfile.TemporaryFile() as errors:
            try:
                # Files, not pipes: a daemon that the program starts would keep a pipe open.
                process = subprocess.Popen(
                    command,
                    stdin=given,
                    stdout=out,
                    stderr=errors,
                    env=_environment(),
                    start_new_session=True,
                )
            except OSError as error:
                return Outcome("", "%s: %s" % (command[0], error.strerror))
            problem = _wait(process, limit_s)
            errors.seek(0)
            said = errors.read(OUTPUT_BYTES).decode(errors="replace").strip()
        out.seek(0)
        output = out.read(OUTPUT_BYTES).decode(errors="replace")
    if problem and said:
        problem = "%s: %s" % (problem, said.splitlines()[-1])
    return Outcome(output, "%s %s" % (" ".join(command), problem) if problem else "")


def _wait(process: "subprocess.Popen[bytes]", limit_s: float) -> str:
    """Waits for a process to end; returns how it failed, or an empty text when it did not."""
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        with suppress(OSError):  # the process may be gone, or belong to root
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        return "did not end within %g s" % limit_s
    return "ended with code %d" % code if code else ""


def _environment() -> Dict[str, str]:
    """This process's environment, with English messages and without the runtime's modules."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    path: List[str] = [*filter(None, [kept.get("PATH", "/usr/bin:/bin")]), FURTHER_PATH]
    return {**kept, "PATH": ":".join(path), "LC_ALL": "C"}


@dataclass(frozen=True)
class Knob:
    """A setting, or one of the files that the setting is made in.

    Attributes:
        setting: The setting as the host sends it: see `qsdnn_boards.spec.spec.Setting`.
        path: The file; empty where the setting has none, or none of its files exists.
        state: The file in which a program may keep the previous state.
    """

    setting: Mapping[str, Any]
    path: str
    state: str

    @property
    def key(self) -> Tuple[str, str]:
        """What tells this knob from other knobs: the setting's name, and the file."""
        return str(self.setting["what"]), self.path

    @property
    def keeps_state(self) -> bool:
        """Whether a program keeps the previous state in a file, so that nobody can ask for it."""
        return any("{state}" in word for word in self.setting["query"]["run"])

    def ask(self) -> Tuple[str, str]:
        """The present value, empty where a program keeps it; and the error when it is not known."""
        if self.setting["each"] and not self.path:
            return "", "this board has no %s" % self.setting["each"]
        if self.keeps_state:
            with suppress(OSError):  # jetson_clocks would ask before it writes over a file
                os.unlink(self.state)
        outcome = self._run("query", as_root=False)
        if outcome.error and self.setting["needs_root"] and os.geteuid():
            outcome = self._run("query", as_root=True)
        if self.keeps_state and not outcome.error and not _sync(self.state):
            return "", "%s kept nothing" % self.setting["query"]["run"][0]
        if outcome.error or not self.setting["value"]:
            return "", outcome.error
        found = re.search(self.setting["value"], outcome.text, re.MULTILINE)
        if found is None:
            said = outcome.text.strip()[-80:]
            return "", "%s said '%s'" % (self.setting["query"]["run"][0], said)
        return found.group(1), ""

    def holds(self, value: str) -> bool:
        """Whether the knob has that value; False as well where the value cannot be asked for."""
        return bool(self.setting["value"]) and self.ask() == (value, "")

    def turn(self) -> str:
        """Turns the knob to the wanted value; returns the error, or an empty text."""
        error = self._run("set", as_root=self.setting["needs_root"]).error
        return error and error + self._hint()

    def turn_back(self, was: str) -> str:
        """Turns the knob back to the value that it had; returns the error, or an empty text."""
        if self.holds(was):
            return ""
        error = self._run("restore", was, as_root=self.setting["needs_root"]).error
        if error or not self.setting["value"]:
            return error and error + self._hint()
        now, problem = self.ask()
        return problem or ("" if now == was else "it is still '%s'" % now)

    def _run(self, step: str, value: str = "", *, as_root: bool) -> Outcome:
        stands_for = {"path": self.path, "value": value, "state": self.state}

        def fill(text: str) -> str:
            return PLACEHOLDER.sub(lambda found: stands_for[found.group(1)], text)

        command = self.setting[step]
        words = [fill(word) for word in command["run"]]
        return run_program(words, fill(command["input"]), as_root=as_root)

    def _hint(self) -> str:
        if self.setting["needs_root"] and os.geteuid():
            return NEEDS_ROOT % str(self.setting["set"]["run"][0])
        return ""


def knobs(settings: Sequence[Mapping[str, Any]], folder: Path) -> List[Knob]:
    """The knobs of settings, in order; a setting whose glob matches nothing has one without path.

    Args:
        settings: The settings, as the host sends them.
        folder: The folder in which programs may keep the previous state.
    """
    found: List[Knob] = []
    for setting in settings:
        digest = hashlib.sha256(setting["what"].encode()).hexdigest()[:8]
        state = str(folder / ("performance-%s.state" % digest))
        paths = [str(path) for path in matching(setting["each"])] if setting["each"] else []
        found += [Knob(setting, path, state) for path in paths or [""]]
    return found


def _sync(path: str) -> bool:
    """Syncs a file, so that it outlives a loss of power; False when there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def can_be_root() -> bool:
    """Whether this process may do what needs root."""
    return os.geteuid() == 0 or not run_program(["true"], as_root=True).error


def report(knob: Knob, was: str, now: str, problem: str) -> Dict[str, str]:
    """The report of a knob: ``what``, ``path``, ``wanted``, and of the other fields the known."""
    what, path = knob.key
    fields = {"what": what, "path": path, "was": was, "now": now, "problem": problem}
    fields["wanted"] = knob.setting["wanted"]
    return {key: text for key, text in fields.items() if text}
