"""Which uniform plans take part in a final where some of them lose too much accuracy."""

from types import SimpleNamespace

from qsdnn.listener import Silent
from qsdnn.tuning.finish.entrants import single_engines
from qsdnn.tuning.limits.constraint import Unlimited

BENCH = SimpleNamespace(listener=Silent())


class Refusing(Unlimited):
    """Some plans lose too much: on the data they are chosen with, or only on that kept apart."""

    def __init__(self, chosen=(), apart=()):
        self.chosen, self.apart, self.asked = set(chosen), set(apart), []

    def admits(self, plans):
        self.asked += plans
        return [plan not in self.chosen for plan in plans]

    def held_out_refusals(self, plans):
        return ["loses 9 dB" if plan in self.apart else "" for plan in plans]


def taking_part(latency_ms, constraint):
    trials = [
        SimpleNamespace(choice=name, key=name, latency_ms=ms) for name, ms in latency_ms.items()
    ]
    names = {name: name for name in latency_ms}
    return [trial.key for trial in single_engines(BENCH, constraint, trials, names)]


LATENCY_MS = {"a/x/int8": 1.0, "b/x/int8": 1.5, "a/x/fp32": 2.0, "a/y/fp32": 2.1, "b/x/fp32": 3.9}


def test_each_engine_and_what_is_near_the_fastest():
    assert taking_part(LATENCY_MS, Unlimited()) == ["a/x/int8", "b/x/int8"]


def test_where_the_fastest_lose_too_much_slower_ones_take_their_place():
    for refusing in ({"chosen": ["a/x/int8", "b/x/int8"]}, {"apart": ["a/x/int8", "b/x/int8"]}):
        constraint = Refusing(**refusing)
        assert taking_part(LATENCY_MS, constraint) == ["a/x/fp32", "a/y/fp32", "b/x/fp32"]
        assert constraint.asked == list(LATENCY_MS)


def test_of_each_plan_it_is_asked_once():
    constraint = Refusing(["a/x/int8"])
    assert taking_part(LATENCY_MS, constraint) == ["b/x/int8", "a/x/fp32"]
    assert constraint.asked == ["a/x/int8", "b/x/int8", "a/x/fp32"]


def test_one_engine_whose_integers_lose_too_much_runs_in_fp32():
    assert taking_part({"a/x/int8": 1.0, "a/x/fp32": 1.2}, Refusing(["a/x/int8"])) == ["a/x/fp32"]


def test_nothing_keeps_the_limit():
    assert taking_part({"a/x/int8": 1.0}, Refusing(["a/x/int8"])) == []
