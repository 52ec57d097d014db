"""Trust, samples and cooling from readings that boards could have given; the median's interval."""

from __future__ import annotations

from fractions import Fraction
from math import comb
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn_runtime.board.sampler import Sampler, mean_power_mw, sensor_summary
from qsdnn_runtime.server.conditions import STEADY_S, cool_down, cooling_note
from qsdnn_runtime.server.trust import (
    VAIN,
    Doubt,
    Repeats,
    doubt,
    interval_rank,
    is_precise,
    judge,
    median_interval,
    relative_spread,
)

SAMPLES = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=80)
STEADY = [1.0, 1.001, 0.999] * 4
WILD = [1.0, 1.1, 0.9] * 2
REST = {"throttle_count": 3, "max_frequency_mhz": 1500.0, "frequency_mhz": 600.0}
WORK = {**REST, "frequency_mhz": 1500.0, "temperature_c": 60.0}


def coverage(count: int, rank: int) -> Fraction:
    """Probability that [x(rank), x(count + 1 - rank)] holds the median."""
    inside = sum(comb(count, below) for below in range(rank, count - rank + 1))
    return Fraction(inside, 2**count)


@pytest.mark.parametrize("count", [*range(1, 60), 200, 2000])
def test_the_rank_is_the_narrowest_that_covers_95_percent(count):
    rank = interval_rank(count)
    wanted = Fraction(95, 100)
    if rank == 0:
        assert count < 6 and coverage(count, 1) < wanted
    else:
        assert coverage(count, rank) >= wanted > coverage(count, rank + 1)


@given(SAMPLES)
def test_the_interval_holds_the_median_and_lies_within_the_samples(samples):
    low, high = median_interval(samples)
    assert min(samples) <= low <= median(samples) <= high <= max(samples)


@given(SAMPLES, st.randoms(use_true_random=False), st.sampled_from([0.5, 2.0, 8.0]))
def test_the_interval_follows_order_preserving_changes(samples, random, factor):
    low, high = median_interval(samples)
    shuffled = random.sample(samples, len(samples))
    assert median_interval(shuffled) == (low, high)
    assert median_interval([value * factor for value in samples]) == (low * factor, high * factor)


@given(SAMPLES, SAMPLES)
def test_slower_samples_have_no_lower_interval(samples, more):
    slower = [value + extra for value, extra in zip(samples, more, strict=False)]
    before, after = median_interval(samples[: len(slower)]), median_interval(slower)
    assert before[0] <= after[0] and before[1] <= after[1]


def test_precise_needs_an_interval_and_a_narrow_one():
    assert not is_precise([1.0] * 5, 0.01)
    assert is_precise([1.0] * 6, 0.01)
    assert relative_spread([1.0, 1.0, 1.0, 1.0, 1.0, 1.5]) == 0.5
    assert not is_precise([1.0, 1.0, 1.0, 1.0, 1.0, 1.5], 0.49)


def of(runs_ms, disturbed=(), **context):
    return {"runs_ms": runs_ms, "disturbed": disturbed, "context": context}


@pytest.mark.parametrize(
    ("runs_ms", "reading", "trust"),
    [
        (STEADY, {"frequency_mhz": 600.0}, "stable"),  # a slow clock alone may be a governor's
        (STEADY, {"temperature_c": 85.0, "frequency_mhz": 1400.0}, "stable"),
        (STEADY, {"temperature_c": 85.0, "frequency_mhz": 1300.0}, "throttled"),
        (STEADY, {"throttle_count": 4}, "throttled"),
        (STEADY, {"throttling": True}, "throttled"),
        (WILD, {"throttling": True}, "throttled"),
        (WILD, {}, "noisy"),
        ([1.0, 1.0], {}, "noisy"),
        ([1.0, 1.0, 1.0], {}, "stable"),
    ],
)
def test_trust(runs_ms, reading, trust):
    odd = {**WORK, **reading}
    assert judge(of(runs_ms), 0.01, [REST, odd]) == trust
    assert judge(of(runs_ms), 0.01, [REST, WORK, odd, WORK]) == trust  # also in its midst


def test_without_sensors_only_the_runs_are_judged():
    assert judge(of(STEADY), 0.01, [{}, {}]) == "stable"
    assert judge(of(WILD), 0.01, [{}]) == "noisy"
    assert judge(of(WILD), 0.05, [{}]) == "stable"  # nobody asked for more


def test_runs_that_were_disturbed_make_no_noise():
    runs_ms = [9.0, *STEADY, 8.0] * 2
    assert judge(of(runs_ms, [0, 13, 14, 27]), 0.01) == "stable"


def test_what_was_measured_under_contention_is_never_called_stable_or_noisy():
    for runs_ms in (STEADY, WILD):
        contended = of(runs_ms, others_share=0.5)
        assert judge(contended, 0.01) == "disturbed"
        assert judge(contended, 0.01, [{"throttling": True}]) == "throttled"


def record(trust, runs_ms=STEADY):
    return {"trust": trust, "runs_ms": runs_ms}


def test_a_group_with_fewer_throttled_disturbed_noisy_then_tighter_is_better():
    groups = [
        [record("stable"), record("stable", [1.0] * 12)],
        [record("stable"), record("stable")],
        [record("stable"), record("noisy", WILD)],
        [record("noisy", WILD), record("noisy", WILD)],
        [record("stable"), record("disturbed")],
        [record("stable"), record("throttled")],
    ]
    assert sorted(groups, key=doubt) == groups


def test_noise_of_what_nobody_will_choose_is_no_reason_to_measure_again():
    slow = [10 * ms for ms in WILD]
    assert doubt([record("stable"), record("noisy", slow)])[:3] == (0, 0, 0)
    assert doubt([record("stable"), record("disturbed", slow)])[:3] == (0, 0, 0)
    assert doubt([record("stable"), record("throttled", slow)])[:3] == (1, 0, 0)
    assert doubt([record("noisy", slow)])[:3] == (0, 0, 1)
    assert doubt([]) == (0, 0, 0, 0)


def test_repeats_are_bounded_and_get_fewer_where_noise_stays():
    stable, noisy, throttled = Doubt(0, 0, 0, 0.0), Doubt(0, 0, 1, 0.1), Doubt(1, 0, 0, 0.1)
    repeats = Repeats()
    assert not repeats.wanted(stable, 1, 2)
    assert [repeats.wanted(noisy, taken, 2) for taken in (1, 2, 3)] == [True, True, False]
    for _ in range(VAIN):
        repeats.learn(noisy, Doubt(0, 0, 1, 0.05))
    assert [repeats.wanted(noisy, taken, 2) for taken in (1, 2)] == [True, False]
    assert not repeats.wanted(noisy, 1, 1)
    assert repeats.wanted(throttled, 2, 2)
    repeats.learn(noisy, stable)
    assert repeats.wanted(noisy, 1, 1)


def reading(temperature_c, **sensors):
    return {"temperature_c": temperature_c, "sensors": sensors}


def test_samples_are_summed_up_by_quantity_and_name():
    samples = [
        reading(50.0, power_mw={"VDD_IN": 3000.0, "VDD_CPU": 500.0}),
        reading(56.0, power_mw={"VDD_IN": 4000.0}),
        {"frequency_mhz": 1500.0},
    ]
    assert sensor_summary(samples) == {
        "samples": 3,
        "temperature_c": {"min": 50.0, "mean": 53.0, "max": 56.0},
        "frequency_mhz": {"min": 1500.0, "mean": 1500.0, "max": 1500.0},
        "sensors": {
            "power_mw": {
                "VDD_CPU": {"min": 500.0, "mean": 500.0, "max": 500.0},
                "VDD_IN": {"min": 3000.0, "mean": 3500.0, "max": 4000.0},
            }
        },
    }
    assert sensor_summary([]) == {"samples": 0}


def test_power_is_a_rail_s_mean_or_a_counter_s_difference_over_time():
    samples = [reading(50.0, power_mw={"VDD_IN": mw}) for mw in (3000.0, 4000.0)]
    before, after = (
        reading(50.0, energy_j={"package": 10.0}),
        reading(50.0, energy_j={"package": 24.0}),
    )
    assert mean_power_mw(before, samples, after, 2.0) == {"VDD_IN": 3500.0, "package": 7000.0}
    assert mean_power_mw(after, [], before, 2.0) == {}  # the counter began anew
    assert mean_power_mw({}, [], {}, 2.0) == {}


def test_a_sampler_reads_while_it_is_entered_and_no_longer():
    count = iter(range(10**9))
    with Sampler(lambda: {"number": next(count)}, [0], every_s=0.001) as sampler:
        while len(sampler.between(0.0, float("inf"))) < 3:
            pass
    found = sampler.between(0.0, float("inf"))
    assert [sample["number"] for sample in found[:3]] == [0, 1, 2]
    assert next(count) == len(found)
    assert sampler.between(0.0, 0.0) == []


class Board:
    """Its temperature each second."""

    def __init__(self, *temperatures_c):
        self.temperatures_c = list(temperatures_c)
        self.now_s = 0.0
        self.told: list[str] = []

    def cool(self, limit_c=70.0, limit_s=180.0):
        def read():
            return self.temperatures_c[min(int(self.now_s), len(self.temperatures_c) - 1)]

        def sleep(seconds):
            self.now_s += seconds

        return cool_down(read, limit_c, limit_s, self.told.append, lambda: self.now_s, sleep)


def test_a_hot_board_is_waited_for():
    board = Board(74.2, 72.0, 69.9)
    assert board.cool() == {"temperature_c": 69.9, "limit_c": 70.0, "waited_s": 2.0}
    assert board.told == [
        "cooling: 74 °C, waits for 70 °C",
        "cooling: 72 °C, waits for 70 °C",
    ]
    assert cooling_note({"temperature_c": 69.9, "limit_c": 70.0}) == ""


def test_a_cool_board_and_one_without_a_sensor_are_not_waited_for():
    for board, found in ((Board(70.0), 0.0), (Board(None), None)):
        assert board.cool().get("waited_s") == found and board.told == []
    assert cooling_note({"limit_c": 70.0}) == ""


def test_the_wait_ends_with_the_time_or_when_it_gets_no_cooler():
    falling = Board(*(100.0 - second for second in range(100)))
    assert falling.cool(limit_c=20.0, limit_s=30.0)["waited_s"] == 30.0
    steady = Board(*([80.0, 76.0] + [75.8] * 500))
    found = steady.cool()
    assert found["waited_s"] == 1.0 + STEADY_S and found["temperature_c"] == 75.8
    assert "stays above 70 °C" in cooling_note(found)
