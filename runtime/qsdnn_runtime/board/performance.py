"""The board's performance mode: set while measuring, and set back to what held before.

What held before is written to a file before anything is set, and the file is removed when all is
set back. The file stays where the measuring server was killed or the board lost power: whoever
comes next sets back what the file says, before asking for the present values.

A host also runs this file on boards that have no runtime: see `qsdnn_runtime.board.knob`.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, TextIO, Tuple

from qsdnn_runtime.board.knob import Knob, knobs, report

# How long to wait for a server whose host vanished, and which may still be setting back.
WAIT_S = 30.0
POLL_S = 0.1

Report = Dict[str, str]


@dataclass(frozen=True)
class Recovery:
    """The outcome of setting back a performance mode that somebody had left set.

    Attributes:
        done: What was set back, and to what value.
        failed: What could not be set back, and why.
        busy: Whether nothing is left over, as the process that set the mode still measures.
    """

    done: Tuple[str, ...] = ()
    failed: Tuple[str, ...] = ()
    busy: bool = False

    def notes(self) -> List[str]:
        """Messages for the user of the board."""
        left = "a run that was killed had left the board in its performance mode; set back: %s"
        failed = ["performance mode: cannot be set back: %s" % text for text in self.failed]
        return [*([left % ", ".join(self.done)] if self.done else []), *failed]


class PerformanceMode:
    """The performance mode of this board. Thread-safe.

    The process that has set the mode holds a lock until all is set back; no other process changes
    the mode meanwhile.

    Args:
        root: The board's cache folder.
        wait_s: How long `set` waits for another process to set back what that process had set.
    """

    def __init__(self, root: Path, wait_s: float = WAIT_S) -> None:
        self._root = root
        self._file = root / "performance.json"
        self._wait_s = wait_s
        self._lock: Optional[TextIO] = None
        self._reports: List[Report] = []
        self._working = threading.Lock()
        self._ending = threading.Event()

    def recover(self) -> Recovery:
        """Sets back what a process that is gone had set."""
        with self._working:
            if self._lock is not None or not self._file.exists():
                return Recovery()
            try:
                with self._held(0.0) as held:
                    return self._set_back() if held else Recovery(busy=True)
            except OSError as error:
                return Recovery(failed=(str(error),))

    def set(self, settings: Sequence[Mapping[str, Any]]) -> Tuple[List[Report], List[str]]:
        """Sets what can be set, once, until `restore`.

        A knob that cannot be turned is no error: the board measures as it is.

        Args:
            settings: The settings in the order of setting, as the host sends them: see
                `qsdnn_boards.spec.spec.Setting`.

        Returns:
            The report of each knob, see `knob.report`; and the messages for the user.
        """
        recovery = Recovery()
        with self._working:
            if self._reports or self._ending.is_set():
                return self._reports, []
            try:
                if not self._acquire(self._wait_s):
                    self._wait_s = 0.0  # not again for every group
                    raise OSError("another process has set it, and measures")
                recovery = self._set_back()
                reports = self._reports = self._turn_all(knobs(settings, self._root))
            except (OSError, ValueError) as error:
                return [], [*recovery.notes(), "performance mode: not set: %s" % error]
            problems: Dict[str, str] = {}
            for told in reports:  # one problem of each setting: its files fail alike
                if "problem" in told:
                    problems.setdefault(told["what"], told["problem"])
            notes = ["performance mode: %s: %s" % item for item in problems.items()]
            return reports, [*recovery.notes(), *notes]

    def restore(self) -> Recovery:
        """Sets back what was set. Nothing can be set any more."""
        self._ending.set()
        with self._working:
            if self._lock is None:
                return Recovery()
            try:
                return self._set_back()
            finally:
                self._release()

    def look(self, settings: Sequence[Mapping[str, Any]]) -> List[Report]:
        """The reports of all knobs as they are now; changes nothing."""
        found = []
        for knob in knobs(settings, self._root):
            now, problem = ("", "") if knob.keeps_state else knob.ask()
            found.append(report(knob, "", now, problem))
        return found

    def _turn_all(self, turned: Sequence[Knob]) -> List[Report]:
        # A knob that could not be set back still has its old entry: asking would tell our own
        # value.
        entries = {knob.key: (knob, was) for knob, was in self._left()}
        reports, chosen = [], []
        for knob in turned:
            was, problem = (entries[knob.key][1], "") if knob.key in entries else knob.ask()
            if problem or (was and was == knob.setting["wanted"]):
                reports.append(report(knob, was, was, problem))
            else:
                entries[knob.key] = knob, was
                chosen.append(knob)
        self._write(entries.values())
        for knob in chosen:
            if self._ending.is_set():
                break
            was = entries[knob.key][1]
            problem = knob.turn()
            now, silence = ("", "") if knob.keeps_state else knob.ask()
            if problem and now == was:
                del entries[knob.key]  # nothing was set, and setting back would fail alike
            elif not problem and knob.setting["wanted"] not in ("", now):
                problem = silence or "it is still '%s'; it may take a reboot" % now
            reports.append(report(knob, was, now, problem))
        with suppress(OSError):  # else the file lists more than need be set back
            self._write(entries.values())
        return reports

    def _set_back(self) -> Recovery:
        done, failed, kept = [], [], []
        try:
            left = self._left()
            for knob, was in reversed(left):
                problem = knob.turn_back(was)
                words = " ".join(filter(None, knob.key)) + (" to '%s'" % was if was else "")
                if problem:
                    failed.append("%s: %s" % (words, problem))
                    kept.append((knob, was))
                else:
                    done.append(words)
            if left:
                self._write(reversed(kept))
        except (OSError, ValueError) as error:
            failed.append("%s: %s" % (self._file, error))
        return Recovery(tuple(done), tuple(failed))

    def _left(self) -> List[Tuple[Knob, str]]:
        """The knobs that the file lists as set, with their former values, in the order of setting.

        Raises:
            ValueError: The file is another user's, or damaged; the programs it names are then not
                run.
        """
        try:
            with self._file.open(encoding="utf-8") as file:
                if os.fstat(file.fileno()).st_uid != os.geteuid():
                    raise ValueError("belongs to another user: nothing in it is run")
                entries = json.load(file)["entries"]
                return [(Knob(e["setting"], e["path"], e["state"]), e["was"]) for e in entries]
        except FileNotFoundError:
            return []
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError("is damaged (%r): see what holds, and remove it" % error) from error

    def _write(self, entries: Any) -> None:
        """Writes the file so that it outlives a loss of power; removes it when no entry is left."""
        content = [
            {"setting": dict(knob.setting), "path": knob.path, "state": knob.state, "was": was}
            for knob, was in entries
        ]
        if content:
            part = str(self._file) + ".part"
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({"pid": os.getpid(), "entries": content}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, str(self._file))
        else:
            with suppress(FileNotFoundError):
                self._file.unlink()
        folder = os.open(str(self._root), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _held(self, wait_s: float) -> Iterator[bool]:
        held = self._acquire(wait_s)
        try:
            yield held
        finally:
            self._release()

    def _acquire(self, wait_s: float) -> bool:
        """Takes the lock, which the kernel gives back when this process dies."""
        if self._lock is not None:
            return True
        lock = (self._root / "performance.lock").open("a")
        deadline_s = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= deadline_s or self._ending.is_set():
                    lock.close()
                    return False
                time.sleep(POLL_S)
            else:
                self._lock = lock
                return True

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
