"""What a group makes of children that end too early."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from qsdnn.board import MeasureOptions
from qsdnn_runtime import group
from qsdnn_runtime.beacon import NOBODY
from qsdnn_runtime.child import Failure
from qsdnn_runtime.frames import Frame

STUCK = Failure("timed_out", "no end of 'start' after 120 s", "start", NOBODY)
SEGFAULT = Failure("crashed", "SIGSEGV, in step 'run'", "run", 0)
COUNT = 3


@pytest.fixture
def measure(monkeypatch):
    """Measures three packages with children that end as told, the last of them well."""

    def with_children(*endings):
        left, records = list(endings), {}

        class Child:
            def __init__(self, order, payload, *, folder, threads):
                self._indices = [package["index"] for package in order["packages"]]

            def __enter__(self):
                return self

            def __exit__(self, *_):
                pass

            def attend(self, on_event, timeout_s):
                failure = left.pop(0) if left else None
                for index in [] if failure else self._indices:
                    record = {"state": "ok", "trust": "stable", "runs_ms": [1.0], "context": {}}
                    on_event(Frame({"event": "record", "index": index, "record": record}))
                return failure

        monkeypatch.setattr(group, "Child", Child)
        conditions = SimpleNamespace(
            cool=lambda: None,
            sampler=nullcontext,
            complete=lambda record, sampler: None,
            repeats=SimpleNamespace(wanted=lambda *_: False),
        )
        options = {"memory": False, "profile": False, "again": 0, "threads": 1}
        options["timeout_s"] = MeasureOptions().timeout_s
        request = Frame({"options": options, "packages": [{"manifest": {}}] * COUNT})
        folders = [Path("nowhere")] * COUNT
        whole = group.Group(
            request, folders, Path(), conditions, records.__setitem__, lambda text: None
        )
        whole.run()
        return [records[index] for index in range(COUNT)], left

    return with_children


def test_children_that_end_by_chance_in_no_packages_step_blame_none(measure):
    records, left = measure(*[STUCK] * group.STRAYS, SEGFAULT, *[STUCK] * group.STRAYS)
    assert [record["state"] for record in records] == ["crashed", "ok", "ok"] and not left


def test_children_that_always_end_so_are_given_up(measure):
    records, left = measure(*[STUCK] * (group.STRAYS + 1))
    assert [record["state"] for record in records] == ["timed_out"] * COUNT and not left
    assert all(record["error"] == STUCK.error for record in records)
