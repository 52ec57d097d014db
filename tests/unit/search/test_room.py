"""A board that has no room for all packages measures them in parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from qsdnn.board import MeasureOptions, Package, Reference, State
from qsdnn.search.measurer import ANCHORS, Measurer, drift
from qsdnn.search.room import parts, room_bytes
from qsdnn.store import Store
from tests.unit.search.test_trust import INFO, FakeBoard, package, record

BOARD_MB = 100  # room for 25 MB of packages
SMALL = dataclasses.replace(INFO, facts={"memory_mb": BOARD_MB})


def sized(name: str, mb: float) -> Package:
    files = {"weights": {"size_bytes": int(mb * 1e6)}}
    return Package(manifest={**package(name).manifest, "artifacts": files}, folder=Path("/"),
                   digest=name)  # fmt: skip


@pytest.fixture
def measure(tmp_path: Path):
    def with_records(packages, records, **options):
        board = FakeBoard(*records)
        board.probe = lambda: SMALL
        with Store(str(tmp_path / "store.db")) as store:
            measurer = Measurer(board, store, lambda: package("reference"), Reference(feeds={}))
            return board, measurer.measure(packages, "plan", MeasureOptions(), **options)

    return with_records


def test_parts_fit_keep_their_order_and_leave_room_for_anchors():
    sizes = [10.0, 10.0, 10.0, 40.0, 5.0, 5.0, 1.0]
    packages = [sized(str(i), mb) for i, mb in enumerate(sizes)]
    room = room_bytes(SMALL)
    groups = [[p.digest for p in part] for part in parts(packages, [], room)]
    assert groups == [["0", "1"], ["2"], ["3"], ["4", "5", "6"]]
    beside = [[p.digest for p in part] for part in parts(packages, [sized("a", 15.0)], room)]
    assert beside == [["0"], ["1"], ["2"], ["3"], ["4", "5"], ["6"]]
    assert parts(packages, [], room_bytes(INFO)) == [packages]


def test_parts_are_held_against_one_of_the_first(measure):
    packages = [sized(name, 8.0) for name in "abcd"]
    slower = [record(1.5 * ms) for ms in (3.0, 4.0, 1.0)]
    board, found = measure(packages, [record(1.0), record(2.0), *slower])
    assert board.groups == [["a", "b"], ["c", "d", "a"]]
    assert list(found[2].context[ANCHORS]) == ["a"]
    known = {"a": found[0].quiet_ms}
    assert [drift(r, known) for r in found] == pytest.approx([1.0, 1.0, 1.5, 1.5])


def test_what_is_compared_pair_by_pair_is_measured_at_once(measure):
    board, _ = measure([sized(n, 20.0) for n in "abc"], [record(1.0)] * 3, paired=True)
    assert board.groups == [["a", "b", "c"]]


def test_a_board_lost_in_one_part_is_not_asked_for_the_next(measure):
    lost = dataclasses.replace(record(1.0), state=State.BOARD_LOST)
    packages = [sized(name, 20.0) for name in "abc"]
    again = [record(1.0) for _ in range(5)]
    board, found = measure(packages, [record(1.0), lost, record(1.0), *again])
    assert board.groups[:2] == [["a"], ["b", "a"]]
    assert board.groups[2] == ["b"]  # the recovery's next try, of what is missing
    assert [r.state for r in found] == [State.OK] * 3
