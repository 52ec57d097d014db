"""Interleaving, on a clock that only the runs move."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from functools import partial
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsdnn.board import MeasureOptions
from qsdnn_runtime.board.disturbance import undisturbed
from qsdnn_runtime.protocol import MeasureOptions as Options
from qsdnn_runtime.server.turns import SLOW_RATIO, interleave


class Bench:
    """Subjects that take the time they are told, on one clock."""

    def __init__(self, *runs_ms):
        self.now_s = 0.0
        self.order = []
        self.subjects = [FakeSubject(self, i, runs) for i, runs in enumerate(runs_ms)]

    def measure(self, waits=None, cold=True, **options):
        clock = partial(getattr, self, "now_s")
        interleave(self.subjects, Options(**options), clock, waits=waits, cold=cold)
        return [len(subject.runs_ms) for subject in self.subjects]


class Slices:
    """Another process that takes the core: runs of more than so much wait for the rest."""

    def __init__(self, bench, quiet_ms):
        self._bench, self._quiet_ms = bench, quiet_ms
        self._lap_s = 0.0
        self.laps = 0

    def refresh(self):
        pass

    def lap(self):
        self.laps += 1
        passed_ms = (self._bench.now_s - self._lap_s) * 1e3
        self._lap_s = self._bench.now_s
        return passed_ms - self._quiet_ms if passed_ms > self._quiet_ms + 1e-6 else 0.0


class FakeSubject:
    """Repeats a list of times; None in it is a failure."""

    def __init__(self, bench, index, times_ms):
        self.alive = True
        self.runs_ms = []
        self.waited_ms = []
        self.made = 0
        self._bench, self._index, self._times_ms = bench, index, times_ms

    def run_once(self):
        elapsed = self._times_ms[self.made % len(self._times_ms)]
        self.made += 1
        self._bench.order.append(self._index)
        if elapsed is None:
            self.alive = False
            return math.inf
        self._bench.now_s += elapsed / 1e3
        return elapsed

    def count(self, run_ms):
        self.runs_ms.append(run_ms)

    def wait(self, runs, waited_ms):
        self.waited_ms += [waited_ms] * runs

    @property
    def counted_ms(self):
        disturbed = {i for i, waited_ms in enumerate(self.waited_ms) if waited_ms}
        return undisturbed(self.runs_ms, disturbed)


def test_options_are_those_of_the_host():
    assert asdict(Options()) == {
        field.name: getattr(MeasureOptions(), field.name) for field in fields(MeasureOptions)
    }


def test_steady_subjects_stop_at_the_first_interval_and_take_turns():
    bench = Bench([10.0], [11.0], [12.0])
    assert bench.measure() == [6, 6, 6]
    rounds = [bench.order[i : i + 3] for i in range(0, len(bench.order), 3)]
    assert all(sorted(turns) == [0, 1, 2] for turns in rounds)
    assert len({tuple(turns) for turns in rounds}) > 1


def test_the_same_runs_are_made_again():
    first, second = Bench([3.0, 3.5], [4.0]), Bench([3.0, 3.5], [4.0])
    first.measure()
    second.measure()
    assert first.order == second.order


def test_a_slow_baseline_runs_a_few_times_and_past_the_budget_once():
    bench = Bench([10.0, 12.0], [10.0 * SLOW_RATIO * 2])
    assert bench.measure(max_runs=50)[1] == 3
    bench = Bench([10.0], [20_000.0])
    assert bench.measure(budget_s=10.0) == [5, 1]
    assert bench.subjects[1].made == 2


def test_a_noisy_subject_runs_to_the_budget_and_a_steady_one_rests():
    bench = Bench([10.0, 20.0], [15.0])
    noisy, steady = bench.measure(budget_s=2.0, max_runs=10_000)
    assert 2.0 <= bench.now_s < 2.1
    assert steady == 12 and noisy > 50


def test_tiny_networks_run_in_bursts_whose_first_run_is_not_counted():
    bench = Bench([0.1], [0.15])
    assert bench.measure(warmup=1, max_runs=200, cold=False) == [120, 120]
    assert bench.order[2:23] == [bench.order[2]] * 21


def test_networks_up_to_20_ms_run_as_in_a_loop_and_slower_ones_fill_the_caches_themselves():
    bench = Bench([10.0], [11.0])
    assert bench.measure(warmup=1, cold=False) == [24, 24]
    assert bench.order[2:12] == [bench.order[2]] * 5 + [bench.order[7]] * 5
    bench = Bench([21.0], [22.0])
    assert bench.measure(warmup=1, cold=False) == [6, 6]
    assert len(bench.order) == 2 + 12


@pytest.mark.parametrize("latency_ms", [0.1, 10.0])
def test_cold_runs_take_turns_one_by_one(latency_ms):
    bench = Bench([latency_ms], [1.1 * latency_ms])
    assert bench.measure(warmup=1, cold=True) == [6, 6]
    rounds = [bench.order[i : i + 2] for i in range(0, len(bench.order), 2)]
    assert len(rounds) == 7 and all(sorted(turns) == [0, 1] for turns in rounds)


def test_disturbed_runs_are_made_again():
    times = [10.0, 17.0, 10.1, 19.0, 10.0]
    bench = Bench(times, [10.0])
    assert bench.measure(Slices(bench, 11.0), max_runs=50)[0] > 8
    assert len(bench.subjects[0].counted_ms) >= 6 and max(bench.subjects[0].counted_ms) == 10.1
    assert len(bench.subjects[0].waited_ms) == len(bench.subjects[0].runs_ms)
    assert Bench(times, [10.0]).measure(max_runs=50)[0] == 50  # all in vain


def test_where_all_runs_are_disturbed_they_count_and_are_as_many_as_ever():
    bench, beside = Bench([10.0], [11.0]), Bench([10.0], [11.0])
    assert bench.measure(Slices(bench, 1.0)) == beside.measure() == [6, 6]


def test_past_the_budget_disturbed_runs_are_not_made_again():
    bench = Bench([900.0, 900.0, 900.0, 2000.0, 2000.0])
    assert bench.measure(Slices(bench, 900.0), budget_s=5.0, min_runs=5, warmup=1) == [5]


def test_turns_of_short_runs_are_looked_at_as_a_whole():
    bench = Bench([0.1], [0.15])
    waits = Slices(bench, 10.0)
    assert bench.measure(waits, warmup=1, max_runs=200, cold=False) == [120, 120]
    assert waits.laps == 2 * 2 * 6  # before a turn and after it


def test_a_subject_that_fails_leaves_the_others_whole():
    bench = Bench([10.0], [10.0, 10.0, 10.0, None], [None])
    runs = bench.measure()
    assert runs[0] == 6 and not bench.subjects[1].alive and runs[2] == 0
    assert Bench([None]).measure() == [0]


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.floats(0.01, 300.0), min_size=1, max_size=7), min_size=1, max_size=5),
    st.integers(0, 3),
    st.integers(1, 9),
    st.integers(1, 60),
    st.floats(0.0, 2.0),
    st.booleans(),
)
def test_promises_hold_for_any_times(times, warmup, min_runs, max_runs, budget_s, cold):
    bench = Bench(*times)
    options = {"warmup": warmup, "min_runs": min_runs, "max_runs": max_runs, "budget_s": budget_s}
    counts = bench.measure(cold=cold, **options)
    fastest = min(median(subject.runs_ms) for subject in bench.subjects)
    for subject, count in zip(bench.subjects, counts, strict=True):
        slow = median(subject.runs_ms) > SLOW_RATIO * fastest
        assert (1 if slow else min(min_runs, max_runs)) <= count <= max_runs
