"""What a board has no room for at once is measured in parts, or in processes that take turns."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from qsdnn.board import MeasureOptions, Package, Record, Reference, State
from qsdnn.measure.measurer import TURNS, Measurer
from qsdnn.measure.paired import drift, runs_beside
from qsdnn.store import Store
from tests.unit.measure.test_trust import FakeBoard, package, record


def sized(name: str, mb: float) -> Package:
    files = {"weights": {"size_bytes": int(mb * 1e6)}}
    return Package(manifest={**package(name).manifest, "artifacts": files}, folder=Path("/"),
                   digest=name)  # fmt: skip


class Board(FakeBoard):
    """Also keeps the options it was given."""

    def __init__(self, *records: Record) -> None:
        super().__init__(*records)
        self.options: list[MeasureOptions] = []

    def measure(self, packages, reference, options, on_progress=None) -> list[Record]:
        self.options.append(options)
        return super().measure(packages, reference, options, on_progress)


@pytest.fixture
def measure(tmp_path: Path):
    def with_records(packages, records, **more):
        board = Board(*records)
        with Store(str(tmp_path / "store.db")) as store:
            measurer = Measurer(board, store, lambda: package("reference"), Reference(feeds={}))
            options = MeasureOptions(budget_s=8.0)
            return board, measurer.measure(packages, "plan", options, **more)

    return with_records


def named(names: str, mb: float) -> list[Package]:
    return [sized(name, mb) for name in names]


def test_parts_are_held_against_one_of_the_first(measure):
    slower = [record(1.5 * ms) for ms in (5.0, 1.0)]
    first = [record(float(ms)) for ms in (1, 2, 3, 4)]
    board, found = measure(named("abcde", 244.0), [*first, *slower])
    assert board.groups == [["a", "b", "c", "d"], ["e", "a"]]
    assert [options.budget_s for options in board.options] == pytest.approx([6.4, 1.6])
    assert list(found[4].context["anchors_sittings_ms"]) == ["a"]
    known = {"a": found[0].quiet_ms}
    assert drift(found[4], known) == pytest.approx(1.5)


def test_no_anchor_is_loaded_that_would_nearly_double_the_loading(measure):
    board, _ = measure(named("abc", 349.0), [record(1.0)] * 3)
    assert board.groups == [["a", "b", "c"]]  # which comes in shifts of two
    assert board.options[0].sittings == 1


def test_the_last_anchor_is_beside_where_there_is_no_room_for_all(measure):
    anchors = named("xy", 349.0)
    board, found = measure(named("ab", 349.0), [record(1.0)] * 4, anchors=anchors)
    assert board.groups == [["a", "y"], ["b", "y"]]
    assert "anchors_apart" not in found[0].context and board.options[0].sittings == 1
    runs, its_runs = runs_beside(found[0], "y")[0]
    assert len(runs) == len(its_runs) == 30


def test_where_nothing_fits_beside_the_anchor_sittings_are_compared_and_not_runs(measure):
    halves = {"sittings": [15, 15]}
    records = [record(float(ms), **halves) for ms in (1, 2, 3)]
    board, found = measure(named("ab", 600.0), records, anchors=named("y", 600.0))
    assert board.groups == [["a", "b", "y"]] and board.options[0].sittings == TURNS
    assert found[0].context["anchors_apart"] == ["y"]
    pairs = runs_beside(found[1], "y")
    assert [(len(a), len(b)) for a, b in pairs] == [(1, 1)] * 2
    assert [a[0] / b[0] for a, b in pairs] == pytest.approx([2 / 3] * 2)
    assert drift(found[0], {"y": records[2].quiet_ms}) == pytest.approx(1.0)


def test_what_is_paired_is_one_request_and_takes_turns_where_it_does_not_fit(measure):
    board, _ = measure(named("abcd", 20.0), [record(1.0)] * 4, paired=True)
    assert board.groups == [["a", "b", "c", "d"]] and board.options[0].sittings == 1
    board, _ = measure(named("efg", 349.0), [record(1.0)] * 3, paired=True)
    # how many sittings there are is the caller's to say: see `qsdnn.tuning.finish.sittings`
    assert board.groups == [["e", "f", "g"]] and board.options[0].sittings == 1


def test_a_board_lost_in_one_part_is_not_asked_for_the_next(measure):
    lost = dataclasses.replace(record(1.0), state=State.BOARD_LOST)
    again = [record(1.0) for _ in range(5)]
    board, found = measure(
        named("abc", 349.0), [record(1.0), record(1.0), lost, record(1.0), *again],
        anchors=named("y", 349.0),
    )  # fmt: skip
    assert board.groups[:2] == [["a", "y"], ["b", "y"]]
    assert board.groups[2] == ["b", "y"]  # the recovery's next try, of what is missing
    assert [r.state for r in found] == [State.OK] * 3
