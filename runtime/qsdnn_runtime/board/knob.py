"""Knobs: the parts of the performance mode, turned by programs that the board's spec names.

A host also runs this file on boards that have no runtime: see `qsdnn_runtime.board.commands`.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from qsdnn_runtime.board.commands import Outcome, run_program
from qsdnn_runtime.board.readings import matching

PLACEHOLDER = re.compile(r"\{(path|value|state)\}")
NEEDS_ROOT = "; it needs root: log in as root, or let sudo run %s there without a password"


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
