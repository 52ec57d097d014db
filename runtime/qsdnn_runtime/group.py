"""A group of packages on the agent's side: children are spent until every package has a record."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence, Set

from .beacon import NOBODY
from .child import Child, Failure
from .frames import Frame

OnRecord = Callable[[int, Dict[str, Any]], None]


class Group:
    """Measures the packages of one request.

    A package during whose turn the child crashes or hangs gets a record that says so, and a new
    child goes on with those that have none yet: from the beginning, with the whole budget, for
    their runs must be interleaved. Records that are complete are never lost.

    Args:
        request: The host's ``measure`` frame; its values go to the children as they came.
        folders: Where each package's artifacts are laid out.
        scratch: The children's working directory.
        on_record: Told of each package's record when it is complete.
        on_progress: Told what is being done.
    """

    def __init__(
        self,
        request: Frame,
        folders: Sequence[Path],
        scratch: Path,
        on_record: OnRecord,
        on_progress: Callable[[str], None],
    ) -> None:
        self._request = request
        self._folders = folders
        self._scratch = scratch
        self._on_record = on_record
        self._on_progress = on_progress
        self._options: Mapping[str, Any] = request.header["options"]
        self._timed: Dict[int, Dict[str, Any]] = {}  # complete but for their profile
        self._pending: Set[int] = set()

    def run(self) -> None:
        """Measures all, then profiles those that ended well if the options say so."""
        self._pending = set(range(len(self._folders)))
        self._work_off("measure")
        self._pending = set(self._timed)
        self._work_off("profile")

    def _work_off(self, job: str) -> None:
        while self._pending:
            open_before = len(self._pending)
            with self._child(job) as child:
                failure = child.attend(self._on_event, self._options["timeout_s"])
            if failure is None:
                failure = Failure("crashed", "the child ended without a record", "close", NOBODY)
            if failure.index in self._pending:
                self._blame(failure.index, failure)
            elif len(self._pending) == open_before:  # nobody's fault, and it would happen again
                for index in sorted(self._pending):
                    self._blame(index, failure)

    def _child(self, job: str) -> Child:
        packages: List[Dict[str, Any]] = self._request.header["packages"]
        order = {
            **self._request.header,
            "job": job,
            "threads": self._options["threads"],
            "packages": [
                {"index": i, "manifest": packages[i]["manifest"], "folder": str(self._folders[i])}
                for i in sorted(self._pending)
            ],
        }
        payload = [self._request.payload]
        return Child(order, payload, folder=self._scratch, threads=self._options["threads"])

    def _on_event(self, frame: Frame) -> None:
        event = frame.header
        if event["event"] == "progress":
            self._on_progress(event["text"])
        elif event["event"] == "record":
            self._settle(event["index"], event["record"])
        else:
            self._add_profile(event["index"], event)

    def _settle(self, index: int, record: Dict[str, Any]) -> None:
        """Takes a package's record, which is complete unless it is to be profiled."""
        self._pending.discard(index)
        if record["state"] == "ok" and self._options["profile"]:
            self._timed[index] = record
        else:
            self._on_record(index, record)

    def _add_profile(self, index: int, event: Mapping[str, Any]) -> None:
        """Completes a record; a profile that failed leaves the timing good, and says so."""
        self._pending.discard(index)
        record = self._timed.pop(index)
        if "error" in event:
            record["context"]["profile_error"] = event["error"]
        else:
            record.update(layers_ms=event["layers_ms"], applied=event["applied"])
        self._on_record(index, record)

    def _blame(self, index: int, failure: Failure) -> None:
        if index in self._timed:
            self._add_profile(index, {"error": failure.error})
        else:
            self._settle(index, {"state": failure.state, "error": failure.error})
