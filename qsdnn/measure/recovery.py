"""Recovery: a lost board is waited for, and what it had not measured is measured then.

A package is blamed for nothing that may be chance. A package that crashed or hung is tried again.
Where the board was lost, its packages are measured again together, then each alone: one with which
the board is lost every time, and well in between, is what loses it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from qsdnn.board import Board, Evaluation, MeasureOptions, Package, Record, Reference, State
from qsdnn.errors import BoardError, BoardLostError

T = TypeVar("T")
R = TypeVar("R", Record, Evaluation)
"""The result for a package: the record of a measurement, or an evaluation of its outputs."""

PAUSES_S = (1.0, 5.0, 15.0, 30.0, 60.0)
"""The pauses before each further try to reach a lost board: small boards boot in a minute or
two."""

TOGETHER, ALONE = 2, 3
"""The number of tries to measure packages together while the board is lost, and then each alone."""

CHANCES = {State.CRASHED: 2, State.TIMED_OUT: 1}
"""The number of further tries of a package that ended so: the cause may have come from outside,
e.g. from a process that took the memory. To time out takes minutes."""


class Recovery:
    """Has packages measured, or evaluated, on a board that may be lost meanwhile.

    Args:
        try_out: A function that has the board do something that is known to work.
        on_note: Called with what went wrong, and what is done about it.
    """

    def __init__(self, try_out: Callable[[], object], on_note: Callable[[str], None]) -> None:
        self._try_out = try_out
        self._on_note = on_note

    def measure(
        self,
        packages: Sequence[Package],
        take: Callable[[Sequence[Package]], list[R]],
        keep: Callable[[Package, R], None],
        *,
        paired: bool,
    ) -> list[R]:
        """The record of each package; `State.BOARD_LOST` are those that lose the board.

        Args:
            packages: The packages to measure.
            take: A function that measures packages side by side, once: a record each,
                `State.BOARD_LOST` where none was made.
            keep: Called with each record as soon as it will not change any more.
            paired: Whether all records must come of one measurement, except of those that end
                badly.

        Raises:
            BoardError: The board does not come back, or is lost whatever is measured.
        """

        def settle(package: Package, record: R) -> None:
            if not paired and record.state not in CHANCES:
                keep(package, record)

        records = self._survive(packages, take, settle, paired=paired)
        for tried in range(max(CHANCES.values())):
            unlucky = [i for i, r in enumerate(records) if tried < CHANCES.get(r.state, 0)]
            if not unlucky:
                break
            first = records[unlucky[0]]
            self._note(f"a plan ended as {first.state}: {first.error}", "it is tried once more")
            others = [i for i, r in enumerate(records) if r.state is not State.BOARD_LOST]
            again = others if paired else unlucky
            latest = self._survive([packages[i] for i in again], take, settle, paired=paired)
            for i, record in zip(again, latest, strict=True):
                records[i] = record
        for package, record in zip(packages, records, strict=True):
            if paired or record.state in CHANCES:
                keep(package, record)
        return records

    def persist(self, work: Callable[[], T]) -> T:
        """Does something with the board, again while the board is lost.

        Raises:
            BoardError: The board does not come back.
        """
        for pause_s in PAUSES_S:
            try:
                return work()
            except BoardLostError as error:
                self._note(error.message, f"the next try is in {pause_s:g} s")
                time.sleep(pause_s)
        try:
            return work()
        except BoardLostError as error:
            raise BoardError(
                f"the board does not come back: {error.message}",
                hint="check it, then repeat the command, which goes on from there: "
                "what was measured is stored",
            ) from error

    def _survive(
        self,
        packages: Sequence[Package],
        take: Callable[[Sequence[Package]], list[R]],
        settle: Callable[[Package, R], None],
        *,
        paired: bool,
    ) -> list[R]:
        """Measures packages, whatever becomes of the board."""
        records: dict[int, R] = {}
        for _ in range(TOGETHER):
            found = self._together(_without(packages, records), take, paired=paired)
            for i, record in found.items():
                settle(packages[i], record)
            records |= found
            if len(records) == len(packages):
                return [records[i] for i in range(len(packages))]
        for i, package in _without(packages, records).items():
            records[i] = self._alone(package, take)
            settle(package, records[i])
        if paired:  # alone they cannot be compared, but it is known now who may be in the group
            innocent = {i: packages[i] for i, r in records.items() if r.state is State.OK}
            records |= self._once_more(innocent, take)
        return [records[i] for i in range(len(packages))]

    def _together(
        self,
        packages: dict[int, Package],
        take: Callable[[Sequence[Package]], list[R]],
        *,
        paired: bool,
    ) -> dict[int, R]:
        """The records of one measurement; afterwards the board is there."""
        records = dict(zip(packages, self._take(list(packages.values()), take), strict=True))
        found = {i: record for i, record in records.items() if record.state is not State.BOARD_LOST}
        return {} if paired and len(found) < len(records) else found

    def _alone(self, package: Package, take: Callable[[Sequence[Package]], list[R]]) -> R:
        """The record of a package, which names the package when the board is lost with it."""
        for _ in range(ALONE):
            (record,) = self._take([package], take)
            if record.state is not State.BOARD_LOST:
                return record
        blame = f"it was measured alone {ALONE} times, the board was lost each time and well after"
        return replace(record, error=f"{blame}: {record.error}")

    def _once_more(
        self, packages: dict[int, Package], take: Callable[[Sequence[Package]], list[R]]
    ) -> dict[int, R]:
        records = self._together(packages, take, paired=True) if packages else {}
        if len(records) < len(packages):
            raise BoardError(
                "the board is lost again and again, whatever is measured",
                hint="check its power and its memory, then repeat the command: "
                "what was measured is stored",
            )
        return records

    def _take(
        self, packages: Sequence[Package], take: Callable[[Sequence[Package]], list[R]]
    ) -> list[R]:
        records = self.persist(lambda: take(packages))
        lost = [record for record in records if record.state is State.BOARD_LOST]
        if lost:
            self._note(lost[0].error, "what it had not measured is measured again")
            self.persist(self._try_out)
        return records

    def _note(self, trouble: str, remedy: str) -> None:
        self._on_note(f"{trouble.splitlines()[0]}; {remedy}" if trouble else remedy)


def _without(packages: Sequence[Package], records: dict[int, R]) -> dict[int, Package]:
    return {i: package for i, package in enumerate(packages) if i not in records}


def measure_together(
    board: Board,
    packages: Sequence[Package],
    reference: Reference,
    options: MeasureOptions,
    *,
    on_note: Callable[[str], None],
    on_progress: Callable[[str], None],
) -> list[Record]:
    """Measures packages that are to be compared with one another, without a store.

    Args:
        board: The board, already started.
        packages: The packages, all measured in one measurement, in turns.
        reference: The inputs, and the outputs that packages must give, if any.
        options: The options of measuring.
        on_note: Called with what becomes of a board that was lost.
        on_progress: Called with texts that say what the board does.

    Raises:
        BoardError: The board was lost and does not come back.
    """
    return Recovery(lambda: None, on_note).measure(
        packages,
        lambda group: board.measure(group, reference, options, on_progress),
        lambda package, record: None,
        paired=True,
    )


def run_once(
    board: Board,
    package: Package,
    feeds: Mapping[str, Any],
    *,
    threads: int = 1,
    on_note: Callable[[str], None],
    on_progress: Callable[[str], None],
) -> dict[str, Any]:
    """Runs a package once; returns the outputs by name.

    Raises:
        RunError: The run failed on the board.
        BoardError: The board was lost and does not come back.
    """
    return Recovery(lambda: None, on_note).persist(
        lambda: board.run(package, feeds, threads=threads, on_progress=on_progress)
    )
