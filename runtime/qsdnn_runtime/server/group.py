"""A group of packages, seen from the server: children work until every package has a record.

Packages are interleaved run by run where all are loaded at once, in one child. Where there is no
room for that, children take shifts, one after another in each sitting: what is compared then are
packages' sittings, not their runs.

A whole group is measured again when a record in it cannot be trusted, as the runs of its packages
are compared with one another.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Set

from qsdnn_runtime.board.sampler import Sampler
from qsdnn_runtime.frames import Frame
from qsdnn_runtime.protocol import MeasureOptions, State, Step

from .child import Child, Failure
from .conditions import Conditions
from .postmortem import NOBODY
from .sittings import order, pool, share, turn
from .trust import doubt, worst

OnRecord = Callable[[int, Dict[str, Any]], None]

# How often in a row children may end in a step that is no package's, without a new record: such
# ends may come by chance, from outside. After more, the packages are blamed.
STRAYS = 2


class Group:
    """Measures the packages of one request.

    A package during whose turn the child crashes or hangs gets a record that says so, and a new
    child goes on with the packages that have no record yet: from the beginning, with the whole
    budget, as their runs must be interleaved. Complete records are never lost.

    Args:
        request: The host's ``measure`` frame; its values go to the children unchanged.
        folders: The folder of each package's artifacts.
        scratch: The children's working directory.
        conditions: The conditions of the measurement.
        on_record: A function that gets each package's record when complete, and again any better
            one.
        on_progress: A function that is told what is being done.

    Attributes:
        spent_s: The time in seconds that the children spent in each step.
    """

    def __init__(
        self,
        request: Frame,
        folders: Sequence[Path],
        scratch: Path,
        conditions: Conditions,
        on_record: OnRecord,
        on_progress: Callable[[str], None],
    ) -> None:
        self._request = request
        self._folders = folders
        self._scratch = scratch
        self._conditions = conditions
        self._on_record = on_record
        self._on_progress = on_progress
        self._options = MeasureOptions(**request.header["options"])
        self._good: Dict[int, Dict[str, Any]] = {}  # records that ended well, of the best pass
        self._pending: Set[int] = set()
        self.spent_s: Dict[str, float] = {}
        everything = list(range(len(folders)))
        self._shifts: List[List[int]] = request.header.get("shifts") or [everything]

    def run(self) -> None:
        """Measures all packages, then weighs and profiles the good ones if the options say so."""
        for shift in self._shifts:
            self._work_off("measure", shift)
        self._sit(self._good, first=1)
        self._repeat()
        if self._options.memory:
            self._weigh()
        if self._options.profile:
            self._work_off("profile", list(self._good))

    def _repeat(self) -> None:
        """Measures the group again while a record cannot be trusted; the better pass counts."""
        repeats, passes = self._conditions.repeats, 1
        best = doubt(list(self._good.values()))
        while repeats.wanted(best, passes, self._options.again):
            if best.disturbed and not best.throttled and self._conditions.contended():
                break  # the disturbance goes on: another pass would show the same
            self._on_progress("measuring again: it was %s" % worst(best))
            passes += 1
            found = self._again(throttled=best.throttled > 0)
            if len(found) < len(self._good):
                break  # an engine failed this time: the earlier records stay
            latest = doubt(list(found.values()))
            repeats.learn(best, latest)
            if latest < best:
                best, self._good = latest, found
        again = passes > 1 or self._options.sittings > 1
        for index, record in self._good.items():
            record["context"]["passes"] = passes
            if again and not self._options.profile:
                self._on_record(index, record)

    def _weigh(self) -> None:
        """Finds how much memory each package takes alone; a failure leaves the timing good."""

        def on_event(frame: Frame) -> None:
            event = frame.header
            if event["event"] == "memory":
                self._good[event["index"]]["peak_memory_mb"] = event["peak_memory_mb"]

        for number, index in enumerate(sorted(self._good), 1):
            self._on_progress("weighing %d of %d" % (number, len(self._good)))
            with self._child("memory", {index}) as child:
                self._attend(child, on_event)
            if not self._options.profile:
                self._on_record(index, self._good[index])

    def _again(self, *, throttled: bool) -> Dict[int, Dict[str, Any]]:
        """Another pass over the good packages; returns the records that ended well again."""
        self._conditions.cool(throttled=throttled)
        found: Dict[int, Dict[str, Any]] = {}
        self._sit(found)
        return found

    def _sit(self, records: Dict[int, Dict[str, Any]], first: int = 0) -> None:
        """Measures the good packages in more processes, and pools their records.

        Args:
            records: The records of the first sitting, if it was made; replaced by the pooled
                records of those packages that ended well in all sittings.
            first: The number of the sitting to begin with.
        """
        found: Dict[int, List[Dict[str, Any]]] = {index: [records[index]] for index in records}

        def on_record(index: int, record: Dict[str, Any]) -> None:
            if record["state"] == State.OK:
                found.setdefault(index, []).append(record)

        count = self._options.sittings
        for sitting in range(first, count):
            if sitting:
                self._on_progress("sitting %d of %d" % (sitting + 1, count))
            for shift in turn(self._shifts, sitting):
                left = set(shift) & set(self._good)
                if left:
                    self._take_shift(left, on_record, sitting)
        for index, parts in found.items():
            if len(parts) == count:
                records[index] = pool(parts, self._options.precision)

    def _take_shift(self, indices: Set[int], on_record: OnRecord, sitting: int) -> None:
        """Has a child measure packages; another one where it ended before any was loaded."""
        for _ in range(1 + STRAYS):
            failure = self._pass_over("measure", indices, on_record, sitting)
            if failure is None:
                return
            self._on_progress("a process ended early: %s" % failure.error)
            if failure.step != Step.START:
                return

    def _work_off(self, job: str, indices: Sequence[int]) -> None:
        """Has children do a job, until it is done or has failed for each of these packages."""
        self._pending, strays = set(indices), 0
        while self._pending:
            open_before = len(self._pending)
            if job == "measure":
                self._conditions.cool()
            failure = self._pass_over(job, self._pending, self._settle)
            if failure is None:
                failure = Failure(
                    State.CRASHED, "the child ended without a record", Step.CLOSE, NOBODY
                )
            if failure.index in self._pending:
                self._blame(failure.index, failure)
            strays = 0 if len(self._pending) < open_before else strays + 1
            if strays > STRAYS:
                for index in sorted(self._pending):
                    self._blame(index, failure)

    def _pass_over(
        self, job: str, indices: Set[int], on_record: OnRecord, sitting: int = 0
    ) -> Optional[Failure]:
        """Has one child work on these packages; returns how the child failed, or None."""
        with self._conditions.sampler() as sampler, self._child(job, indices, sitting) as child:

            def on_event(frame: Frame) -> None:
                self._on_event(frame, sampler, on_record)

            return self._attend(child, on_event)

    def _attend(self, child: Child, on_event: Callable[[Frame], None]) -> Optional[Failure]:
        failure = child.attend(on_event, self._options.timeout_s)
        for step, seconds in child.spent_s.items():
            self.spent_s[step] = self.spent_s.get(step, 0.0) + seconds
        return failure

    def _child(self, job: str, indices: Set[int], sitting: int = 0) -> Child:
        packages: List[Dict[str, Any]] = self._request.header["packages"]
        task = {
            **self._request.header,
            "job": job,
            "options": asdict(share(self._options, self._part(indices))),
            "threads": self._options.threads,
            "packages": [
                {"index": i, "manifest": packages[i]["manifest"], "folder": str(self._folders[i])}
                for i in order(list(indices), sitting)
            ],
        }
        payload = [self._request.payload]
        return Child(task, payload, folder=self._scratch, threads=self._options.threads)

    def _part(self, indices: Set[int]) -> float:
        """The share of the group's packages that are in the shifts of these packages."""
        shifts = [shift for shift in self._shifts if indices & set(shift)]
        return sum(map(len, shifts)) / len(self._folders)

    def _on_event(self, frame: Frame, sampler: Sampler, on_record: OnRecord) -> None:
        event = frame.header
        if event["event"] == "progress":
            self._on_progress(event["text"])
        elif event["event"] == "record":
            record = event["record"]
            if record["state"] == State.OK:
                self._conditions.complete(record, sampler)
            on_record(event["index"], record)
        else:
            self._add_profile(event["index"], event)

    def _settle(self, index: int, record: Dict[str, Any]) -> None:
        """Takes a package's record, which is complete unless it is to be profiled."""
        self._pending.discard(index)
        if record["state"] == State.OK:
            self._good[index] = record
        if record["state"] != State.OK or not self._options.profile:
            self._on_record(index, record)

    def _add_profile(self, index: int, event: Mapping[str, Any]) -> None:
        """Completes a record; a profile that failed leaves the timing good, with a note."""
        self._pending.discard(index)
        record = self._good.pop(index)
        if "error" in event:
            record["context"]["profile_error"] = event["error"]
        else:
            record.update(layers_ms=event["layers_ms"], applied=event["applied"])
        self._on_record(index, record)

    def _blame(self, index: int, failure: Failure) -> None:
        if index in self._good:
            self._add_profile(index, {"error": failure.error})
        else:
            ended = {"state": failure.state, "error": failure.error, "step": failure.step}
            self._settle(index, ended)
