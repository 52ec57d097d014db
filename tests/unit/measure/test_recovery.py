"""Boards that are lost while a search measures: what is tried again, and what is blamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsdnn.board import Package, Record, State
from qsdnn.errors import BoardError, BoardLostError
from qsdnn.measure import recovery as recovery_module
from qsdnn.measure.recovery import ALONE, PAUSES_S, TOGETHER, Recovery

LOST = Record(state=State.BOARD_LOST, error="board 'lab' was lost: it ended\nlast words")
OK = Record(state=State.OK, runs_ms=(1.0,), segments_ms=((1.0,),))
KILLED = "the process was killed by SIGKILL"


class Machine:
    """A board with packages that do things to it: `deadly` ones lose it.

    Args:
        deadly: Packages that lose the board each time.
        unlucky: How often a package ends badly before it runs.
        how: In which state.
        losses: How often the board is lost whatever it measures.
        absences: How often it cannot be reached after it was lost.
    """

    def __init__(self, *, deadly="", unlucky=None, how=State.CRASHED, losses=0, absences=0) -> None:
        self.groups: list[str] = []
        self.well = 0
        self._deadly = set(deadly)
        self._unlucky = dict(unlucky or {})
        self._how = how
        self._losses = losses
        self._absences = absences

    def take(self, packages: list[Package]) -> list[Record]:
        names = [package.digest for package in packages]
        self.groups.append("".join(names))
        if self._losses or self._deadly & set(names):
            self._losses = max(self._losses - 1, 0)
            return [LOST] * len(names)
        return [self._record(name) for name in names]

    def try_out(self) -> None:
        if self._absences:
            self._absences -= 1
            raise BoardLostError("it cannot be reached")
        self.well += 1

    def _record(self, name: str) -> Record:
        self._unlucky[name] = self._unlucky.get(name, 0) - 1
        return Record(state=self._how, error=KILLED) if self._unlucky[name] >= 0 else OK


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(recovery_module.time, "sleep", slept.append)
    return slept


def measure(machine: Machine, names: str, *, paired: bool = False) -> tuple[str, list[str]]:
    """The state of each package, by its first letter; and what was told."""
    notes: list[str] = []
    packages = [Package(manifest={}, folder=Path("/"), digest=name) for name in names]
    recovery = Recovery(machine.try_out, notes.append)
    kept: dict[str, Record] = {}

    def keep(package: Package, record: Record) -> None:
        assert package.digest not in kept, "kept twice"
        kept[package.digest] = record

    records = recovery.measure(packages, machine.take, keep, paired=paired)
    assert kept == dict(zip(names, records, strict=True))
    return "".join(record.state[0] for record in records), notes


def test_a_board_that_works_is_asked_once(pauses):
    machine = Machine()
    assert measure(machine, "abc") == ("ooo", [])
    assert machine.groups == ["abc"] and machine.well == 0 and measure(machine, "")[0] == ""


def test_a_lost_board_is_waited_for_and_measures_the_same_again(pauses):
    machine = Machine(losses=1, absences=2)
    states, notes = measure(machine, "abc")
    assert states == "ooo" and machine.groups == ["abc", "abc"]
    assert pauses == list(PAUSES_S[:2])
    assert notes == [
        "board 'lab' was lost: it ended; what it had not measured is measured again",
        "it cannot be reached; the next try is in 1 s",
        "it cannot be reached; the next try is in 5 s",
    ]


def test_a_board_that_does_not_come_back_is_an_error(pauses):
    with pytest.raises(BoardError, match="does not come back: it cannot be reached") as caught:
        measure(Machine(losses=1, absences=99), "abc")
    assert pauses == list(PAUSES_S) and "repeat the command" in caught.value.hint


@pytest.mark.parametrize("paired", [False, True])
def test_a_package_that_loses_the_board_is_blamed_and_the_others_are_measured(pauses, paired):
    machine = Machine(deadly="b")
    states, _ = measure(machine, "abc", paired=paired)
    assert states == "obo"
    expected = ["abc"] * TOGETHER + ["a"] + ["b"] * ALONE + ["c"]
    assert machine.groups == [*expected, *(["ac"] if paired else [])]
    assert machine.well == TOGETHER + ALONE


def test_chance_is_not_blamed(pauses):
    machine = Machine(losses=TOGETHER + ALONE - 1)
    assert measure(machine, "abc")[0] == "ooo"
    assert machine.groups[TOGETHER:] == ["a"] * ALONE + ["b", "c"]


def test_what_is_measured_is_kept_before_the_rest_is(pauses):
    class Absent(Machine):
        def try_out(self):
            if self.groups[-1] == "b":
                raise BoardError("it lets nobody in any more")

    kept: list[str] = []
    packages = [Package(manifest={}, folder=Path("/"), digest=name) for name in "abc"]
    machine = Absent(deadly="b")
    recovery = Recovery(machine.try_out, lambda note: None)
    with pytest.raises(BoardError, match="lets nobody in"):
        recovery.measure(
            packages, machine.take, lambda package, _: kept.append(package.digest), paired=False
        )
    assert kept == ["a"]


def test_a_pair_that_loses_the_board_only_together_ends_the_search(pauses):
    class Hungry(Machine):
        def take(self, packages):
            self._losses = len(packages) - 1
            return super().take(packages)

    with pytest.raises(BoardError, match="again and again"):
        measure(Hungry(), "ab", paired=True)


def test_what_crashes_or_hangs_gets_another_chance(pauses):
    machine = Machine(unlucky={"b": 1, "c": 9})
    states, notes = measure(machine, "abc")
    assert states == "ooc" and machine.groups == ["abc", "bc", "c"]
    assert notes == ["a plan ended as crashed: the process was killed by SIGKILL; "
                     "it is tried once more"] * 2  # fmt: skip
    machine = Machine(unlucky={"b": 1})
    assert measure(machine, "abc", paired=True)[0] == "ooo"
    assert machine.groups == ["abc", "abc"]
    machine = Machine(unlucky={"b": 9}, how=State.TIMED_OUT)
    assert measure(machine, "ab")[0] == "ot" and machine.groups == ["ab", "b"]
