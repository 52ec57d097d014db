"""What a search believes: which records it takes again, and what may win its final."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from qsdnn.board import (
    BoardInfo,
    Care,
    MeasureOptions,
    Package,
    Record,
    Reference,
    State,
    Step,
    Trust,
)
from qsdnn.engine import EngineInfo
from qsdnn.measure import measurer as measurer_module
from qsdnn.measure.measurer import Measurer
from qsdnn.measure.paired import drift, paired_ratio, runs_beside
from qsdnn.measure.trust import doubt
from qsdnn.store import Store
from qsdnn.tuning.rounds.sequential_test import turn_ratios

INFO = BoardInfo(
    name="fake",
    fingerprint="f" * 16,
    engines={"fake": EngineInfo(name="fake", version="1")},
    facts={},
)


def record(ms: float, trust: Trust = Trust.STABLE, **context: Any) -> Record:
    runs_ms = tuple(ms * (1 + 0.001 * (i % 3)) for i in range(30))
    return Record(
        state=State.OK,
        runs_ms=runs_ms,
        segments_ms=tuple((run_ms,) for run_ms in runs_ms),
        ci95_ms=(ms, ms * 1.002),
        trust=trust,
        context=context,
    )


class FakeBoard:
    """Answers with the records it is given, in their order."""

    care = Care()
    spent_s: ClassVar[dict[str, float]] = {}

    def __init__(self, *records: Record) -> None:
        self._records = list(records)
        self.groups: list[list[str]] = []

    def probe(self) -> BoardInfo:
        return INFO

    def run(self, package: Package, feeds: Any, **options: Any) -> dict[str, Any]:
        return {}

    def measure(self, packages, reference, options, on_progress=None) -> list[Record]:
        self.groups.append([package.digest for package in packages])
        return [self._records.pop(0) for _ in packages]


def package(name: str) -> Package:
    manifest = {"segments": [{"engine": "fake"}], "artifacts": {}}
    return Package(manifest=manifest, folder=Path("/"), digest=name)


class Runs:
    """Searches one after another, on one store."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, *records: Record, names: str = "a", times: int = 1, paired: bool = False):
        """A run that measures some packages; the board, the measurer and the last records."""
        board = FakeBoard(*records)
        with Store(str(self._path)) as store:
            measurer = Measurer(board, store, lambda: package("reference"), Reference(feeds={}))
            for _ in range(times):
                found = measurer.measure(
                    [package(name) for name in names], "plan", MeasureOptions(), paired=paired
                )
        return board, measurer, found


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "store.db")


def test_a_stable_measurement_is_taken_once(runs):
    runs(record(1.0))
    board, measurer, (found,) = runs()
    assert board.groups == [] and measurer.counts.cached == 1
    assert found.latency_ms == record(1.0).latency_ms


def test_a_throttled_one_is_taken_again_by_a_later_run_and_not_by_its_own(runs):
    board, _, (found,) = runs(record(2.0, Trust.THROTTLED), times=2)
    assert board.groups == [["a"]] and found.trust is Trust.THROTTLED
    board, measurer, (found,) = runs(record(1.0))
    assert board.groups == [["a"]] and found.trust is Trust.STABLE
    assert measurer.counts.taken == 1
    assert runs()[0].groups == []


def test_a_noisy_one_is_taken_again_by_a_run_an_hour_later(runs, monkeypatch):
    runs(record(2.0, Trust.NOISY))
    assert runs()[0].groups == []
    later_s = time.time() + measurer_module.NOISE_LASTS_S + 1
    monkeypatch.setattr(measurer_module.time, "time", lambda: later_s)
    board, _, (found,) = runs(record(1.0))
    assert board.groups == [["a"]] and found.trust is Trust.STABLE


def test_a_disturbed_one_too(runs, monkeypatch):
    runs(record(2.0, Trust.DISTURBED))
    assert runs()[0].groups == []
    later_s = time.time() + measurer_module.NOISE_LASTS_S + 1
    monkeypatch.setattr(measurer_module.time, "time", lambda: later_s)
    board, _, (found,) = runs(record(1.0))
    assert board.groups == [["a"]] and found.trust is Trust.STABLE


def test_paired_packages_are_measured_together_or_not_at_all(runs):
    runs(record(1.0), record(2.0, Trust.THROTTLED), names="ab", paired=True)
    board, measurer, _ = runs(record(1.0), record(1.1), names="ab", paired=True)
    assert board.groups == [["a", "b"]] and measurer.counts.taken == 2
    assert runs(names="ab", paired=True)[0].groups == []


def test_what_the_board_has_to_say_is_said_once(runs):
    loud = [record(1.0, notes=["not set: needs root", "hot"]), record(1.0, notes=["hot"])]
    _, measurer, _ = runs(*loud, names="ab")
    assert measurer.notes == ["not set: needs root", "hot"]
    assert runs(names="ab")[1].notes == []  # of measurements that were known


def test_a_doubt_is_said_in_words():
    assert doubt(record(1.0)) == ""
    wide = dataclasses.replace(record(1.0, Trust.NOISY, passes=3), ci95_ms=(0.9, 1.2))
    assert "reaches 19.9% from the median, in each of 3 tries" in doubt(wide)
    hot = record(
        1.0,
        Trust.THROTTLED,
        before={"temperature_c": 70.0, "frequency_mhz": 300.0},
        during={"temperature_c": {"max": 84.6}, "frequency_mhz": {"min": 1000.0}},
        after={"temperature_c": 81.0, "frequency_mhz": 1200.0, "max_frequency_mhz": 1500.0},
    )
    assert "throttled" in doubt(hot) and "(85 °C, 1000 of 1500 MHz)" in doubt(hot)
    assert "throttled" in doubt(record(1.0, Trust.THROTTLED))


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (
            {"others_share": 0.48, "others_here_share": 0.5, "passes": 2},
            "disturbed: other processes took 48% of the processor while this was measured, in each "
            "of 2 tries: end what else runs on the board, and repeat the command",
        ),
        (
            {"others_share": 0.02, "others_here_share": 0.5},
            "disturbed: other processes took 50% of the cores this was measured on: ",
        ),
        (
            {"others_share": 0.02, "steal_share": 0.07},
            "disturbed: its host gave 7% of the processor to other machines while this was "
            "measured: repeat the command later",
        ),
        ({"waited_share": 0.2}, "disturbed: 2 of 30 runs waited for a processor: end what else"),
    ],
)
def test_what_disturbed_is_said_in_words(context, words):
    found = dataclasses.replace(record(1.0, Trust.DISTURBED, **context), disturbed=(0, 7))
    assert words in doubt(found)


def test_what_ended_before_a_package_was_loaded_is_measured_again():
    nobodys = Record(state=State.TIMED_OUT, error="no end of 'start' after 120 s", step=Step.START)
    own = Record(state=State.TIMED_OUT, error="no end of 'load' after 120 s")
    assert measurer_module._is_outdated(nobodys) and not measurer_module._is_outdated(own)


def of_sittings(*parts: list[float]) -> Record:
    """A record of some runs in each of several processes."""
    runs_ms = tuple(run for part in parts for run in part)
    counts = [len(part) for part in parts]
    return dataclasses.replace(record(1.0, sittings=counts), runs_ms=runs_ms)


def test_of_several_sittings_each_counts_as_one_sample():
    b = of_sittings(*[[1.0] * 9] * 6)
    favoured = of_sittings(*[[0.88] * 9, [1.02] * 9] * 3)  # by where its memory lay
    ratio, low, high = paired_ratio(favoured, b)
    assert (low, high) == (0.88, 1.02) and low < ratio < high
    faster = of_sittings(*[[ms] * 9 for ms in (0.9, 0.91, 0.92, 0.93, 0.94, 0.95)])
    assert paired_ratio(faster, b) == pytest.approx((0.925, 0.9, 0.95))
    nine = of_sittings(*[[ms] * 9 for ms in (0.5, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 2.0)])
    assert paired_ratio(nine, of_sittings(*[[1.0] * 9] * 9)) == pytest.approx((0.93, 0.9, 0.96))


def test_pairs_of_which_one_run_was_disturbed_do_not_count():
    a = of_sittings([2.0] * 6, [9.0, 2.0, 2.0, 2.0])
    b = of_sittings([1.0, 8.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0] * 4)
    a, b = dataclasses.replace(a, disturbed=(6,)), dataclasses.replace(b, disturbed=(1,))
    assert paired_ratio(a, b) == (2.0, 2.0, 2.0)
    beside = {"anchors_sittings_ms": {"b": b.sittings_ms}, "anchors_disturbed": {"b": b.disturbed}}
    a = dataclasses.replace(a, context={**a.context, **beside})
    for mine, others in runs_beside(a, "b"):
        assert set(turn_ratios(mine, others).tolist()) == {2.0}
    assert runs_beside(a, "c") == []
    assert drift(a, {"b": 0.5}) == 2.0


def test_where_nearly_all_pairs_were_disturbed_all_count():
    a, b = of_sittings([3.0] * 30), of_sittings([2.0] * 30)
    a, b = (dataclasses.replace(part, disturbed=tuple(range(1, 30))) for part in (a, b))
    assert paired_ratio(a, b) == (1.5, 1.5, 1.5)
    assert a.latency_ms == a.quiet_ms == 3.0


def test_runs_are_paired_within_their_sitting():
    a = of_sittings([2.0] * 4, [20.0] * 2, [2.0] * 3)
    b = of_sittings([1.0] * 2, [10.0] * 5, [1.0] * 3)
    assert paired_ratio(a, b) == (2.0, 2.0, 2.0)
