"""What a group makes of children that end too early."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from qsdnn.board import MeasureOptions
from qsdnn_runtime.frames import Frame
from qsdnn_runtime.server import group
from qsdnn_runtime.server.child import Failure
from qsdnn_runtime.server.postmortem import NOBODY
from qsdnn_runtime.server.trust import Repeats

STUCK = Failure("timed_out", "no end of 'start' after 120 s", "start", NOBODY)
SEGFAULT = Failure("crashed", "SIGSEGV, in step 'run'", "run", 0)
COUNT = 3


class Children:
    """Stands for `group.Child`: children end as told, those after them well.

    Attributes:
        loaded: Indices of the packages of each, in their order.
        options: What each was asked.
    """

    def __init__(self, endings, trusts):
        self.left = list(endings)
        self.spent_s = {}
        self.loaded, self.options = [], []
        self._trusts = list(trusts)

    def __call__(self, task, payload, *, folder, threads):
        self.loaded.append([package["index"] for package in task["packages"]])
        self.options.append(task["options"])
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def attend(self, on_event, timeout_s):
        failure = self.left.pop(0) if self.left else None
        trust = self._trusts.pop(0) if self._trusts else "stable"
        for index in [] if failure else self.loaded[-1]:
            run_ms = len(self.loaded) + index / 10
            runs = {"runs_ms": [run_ms] * 3, "segments_ms": [[run_ms]] * 3, "max_error": run_ms}
            context = {"others_share": 1.0} if trust == "disturbed" else {}
            record = {"state": "ok", "trust": trust, **runs, "context": context}
            on_event(Frame({"event": "record", "index": index, "record": record}))
        return failure


@pytest.fixture
def measure(monkeypatch):
    """Measures three packages."""

    def with_children(*endings, sittings=1, trusts=(), contended=False, shifts=None, **more):
        children, records = Children(endings, trusts), {}
        monkeypatch.setattr(group, "Child", children)
        conditions = SimpleNamespace(
            cool=lambda **_: None,
            sampler=nullcontext,
            complete=lambda record, sampler: None,
            repeats=Repeats(),
            contended=lambda: contended,
        )
        options = {**asdict(MeasureOptions()), "sittings": sittings, **more}
        packages = [{"manifest": {}}] * COUNT
        request = Frame({"options": options, "packages": packages, "shifts": shifts})
        folders = [Path("nowhere")] * COUNT
        whole = group.Group(
            request, folders, Path(), conditions, records.__setitem__, lambda text: None
        )
        whole.run()
        return [records[index] for index in range(COUNT)], children

    return with_children


def test_children_that_end_by_chance_in_no_packages_step_blame_none(measure):
    records, children = measure(*[STUCK] * group.STRAYS, SEGFAULT, *[STUCK] * group.STRAYS)
    assert [record["state"] for record in records] == ["crashed", "ok", "ok"]
    assert not children.left


def test_children_that_always_end_so_are_given_up(measure):
    records, children = measure(*[STUCK] * (group.STRAYS + 1))
    assert [record["state"] for record in records] == ["timed_out"] * COUNT and not children.left
    assert all(record["error"] == STUCK.error for record in records)


def test_sittings_share_the_runs_load_in_turn_and_are_pooled(measure):
    records, children = measure(sittings=3, budget_s=9.0, min_runs=7, max_runs=100, again=0)
    assert children.loaded == [[0, 1, 2], [2, 1, 0], [0, 1, 2]]
    wanted = {"budget_s": 3.0, "min_runs": 3, "max_runs": 34}
    assert all(wanted.items() <= options.items() for options in children.options)
    for index, record in enumerate(records):
        own = [sitting + index / 10 for sitting in (1, 2, 3) for _ in range(3)]
        assert record["runs_ms"] == own and record["segments_ms"] == [[run] for run in own]
        assert record["max_error"] == own[-1] and record["context"]["sittings"] == [3, 3, 3]
        assert record["trust"] == "noisy"  # 1 to 3 ms


def test_a_sitting_that_fails_leaves_what_the_first_found(measure):
    records, _ = measure(None, SEGFAULT, sittings=2)
    assert [record["runs_ms"] for record in records] == [[1.0] * 3, [1.1] * 3, [1.2] * 3]


def test_a_sitting_whose_process_does_not_start_is_held_again(measure):
    records, children = measure(None, STUCK, sittings=2, again=0)
    assert children.loaded == [[0, 1, 2], [2, 1, 0], [2, 1, 0]]
    assert [len(record["runs_ms"]) for record in records] == [6] * COUNT


def test_a_throttled_sitting_is_not_believed_and_all_sit_again(measure):
    records, children = measure(sittings=2, again=1, trusts=["stable", "throttled"])
    assert len(children.loaded) == 4
    assert [record["context"]["passes"] for record in records] == [2] * COUNT
    assert all(record["trust"] != "throttled" for record in records)


@pytest.mark.parametrize(("contended", "passes"), [(True, 1), (False, 2)])
def test_what_was_disturbed_is_measured_again_unless_that_goes_on(measure, contended, passes):
    records, children = measure(again=1, trusts=["disturbed"], contended=contended)
    assert len(children.loaded) == passes
    trusts = {record["trust"] for record in records}
    assert trusts == ({"disturbed"} if contended else {"stable"})


def test_shifts_take_turns_in_each_sitting_and_divide_the_budget(measure):
    records, children = measure(sittings=2, budget_s=6.0, again=0, shifts=[[0, 1], [2]])
    assert children.loaded == [[0, 1], [2], [2], [1, 0]]
    assert [options["budget_s"] for options in children.options] == pytest.approx([2, 1, 1, 2])
    firsts = [record["runs_ms"][0] for record in records]
    assert firsts == pytest.approx([1.0, 1.1, 2.2])
    assert all(record["context"]["sittings"] == [3, 3] for record in records)


def test_a_package_that_crashes_in_a_shift_stops_no_other_shift(measure):
    records, children = measure(SEGFAULT, shifts=[[0, 1], [2]], again=0)
    assert children.loaded == [[0, 1], [1], [2]]
    assert [record["state"] for record in records] == ["crashed", "ok", "ok"]
