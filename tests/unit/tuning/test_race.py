"""The race of the uniform plans: what is looked at first, and what is left when time is short."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qsdnn.board import BoardInfo, MeasureOptions, Package, Record, State
from qsdnn.errors import InfeasibleError
from qsdnn.listener import Silent
from qsdnn.measure.measurer import Counts
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Space
from qsdnn.tuning.budget import Budget, Pace
from qsdnn.tuning.config import Objective, SearchConfig
from qsdnn.tuning.start.race import PIECE, race
from qsdnn.tuning.start.uniform import defaults, uniform_plans
from qsdnn.tuning.stopwatch import Stopwatch
from qsdnn.tuning.trial import Trial

NAMES = (
    "fast/auto/fp32", "fast/other/fp32", "slow/auto/fp32", "slow/b/fp32", "slow/c/fp32",
    "slow/d/fp32", "slow/e/fp32", "fast/auto/int8",
)  # fmt: skip
PRIMITIVES = tuple(
    Primitive(engine=e, algorithm=a, precision=Precision(p), family=f"{e}/{a}/{p}")
    for e, a, p in (name.split("/") for name in NAMES)
)
SPACE = Space(
    layers=("x", "y"),
    primitives=PRIMITIVES,
    mask=np.ones((2, len(PRIMITIVES)), bool),
    edges=(),
)


def test_the_default_of_an_engine_is_what_it_takes_for_each_layer():
    """As ncnn: one algorithm suits the first convolution, another one the other convolutions."""
    names = ("e/sgemm/fp32", "e/winograd/fp32", "e/auto/fp32", "o/auto/fp32")
    primitives = tuple(
        Primitive(engine=e, algorithm=a, precision=Precision(p), family=e)
        for e, a, p in (name.split("/") for name in names)
    )
    offered = [(0,), (1, 0), (1, 0), (1, 0), (2,)]  # stem, three convolutions, a pool
    mask = np.array([[p in some or p == 3 for p in range(4)] for some in offered])
    places = np.array([[some.index(p) if p in some else 3 for p in range(4)] for some in offered])
    space = Space(layers=tuple("abcde"), primitives=primitives, mask=mask, edges=(), places=places)
    plans = uniform_plans(space)
    other, first = defaults(space, plans)
    assert other == "o/auto/fp32"
    assert first != "e/sgemm/fp32" and plans[first].tolist() == [0, 1, 1, 1, 2]


DEFAULTS = {"fast/auto/fp32", "slow/auto/fp32", "fast/auto/int8"}


class Bench:
    """Every group takes ten seconds; engines take what their names say."""

    group_s = 10.0

    def __init__(self, fails=(), fallbacks=(), slow_ms=1.1, goal=Objective.LATENCY):
        self.space, self.slow_ms = SPACE, slow_ms
        self.config = SearchConfig(model=Path("network.onnx"), objective=goal)
        self.notes, self.groups, self.anchors = [], [], []
        self.listener = Silent()
        self.listener.note = self.notes.append
        self.pace = Pace(start_s=1.0)
        self.stopwatch = Stopwatch()
        self.builder = SimpleNamespace(is_fallback=lambda engine: engine in fallbacks)
        self.measurer = SimpleNamespace(
            counts=Counts(),
            reference=lambda _: None,
            info=BoardInfo(name="b", fingerprint="f", engines={}, facts={}),
        )
        self.now_s, self._fails = 0.0, fails

    def options(self):
        return MeasureOptions()

    def remember(self, trials):
        pass

    def tell_best(self, trials):
        pass

    def measure(self, choices, purpose, options, *, anchors=()):
        assert options.profile and purpose == "profile"
        self.now_s += self.group_s
        self.pace.piece_s, self.pace.profiled_s = self.group_s, self.group_s / len(choices)
        self.measurer.counts.taken += len(choices)
        names = [NAMES[int(choice[0])] for choice in choices]
        self.groups.append(names)
        self.anchors.append([NAMES[int(anchor.choice[0])] for anchor in anchors])
        return [self._trial(choice, name) for choice, name in zip(choices, names, strict=True)]

    def _trial(self, choice, name):
        ms, share = (1.0, 0.5) if name.startswith("fast") else (self.slow_ms, 0.25)
        ok = name not in self._fails
        record = Record(
            state=State.OK if ok else State.CRASHED,
            error="" if ok else "it fell",
            runs_ms=(ms,) * 9 if ok else (),
            segments_ms=((ms,),) * 9 if ok else (),
            layers_ms={0: share * ms, 1: (1 - share) * ms} if ok else {},
        )
        manifest = {"segments": [{"engine": name.split("/")[0]}]}
        layers = tuple(SimpleNamespace(index=i) for i in range(2))
        return Trial(
            choice=choice,
            segments=(SimpleNamespace(layers=layers),),
            package=Package(manifest=manifest, folder=Path(), digest=name),
            record=record,
        )


def budget_of(bench, seconds=float("inf"), measurements=None):
    return Budget(
        seconds=seconds,
        measurements=measurements,
        counts=bench.measurer.counts,
        start_s=0.0,
        clock=lambda: bench.now_s,
    )


def test_each_engine_is_looked_at_first_then_variants_of_the_fast_ones():
    bench = Bench()
    profile = race(bench)
    assert set(profile.trials) == set(NAMES)
    assert set(bench.groups[0]) == DEFAULTS and bench.anchors[0] == []
    assert bench.groups[1] == [
        "fast/other/fp32", "slow/b/fp32", "slow/c/fp32", "slow/d/fp32", "slow/e/fp32"
    ]  # fmt: skip
    assert all(anchors == ["fast/auto/fp32"] for anchors in bench.anchors[1:])
    assert np.isfinite(profile.layer_ms).all()
    assert not bench.notes


def test_an_engine_for_where_others_are_missing_is_looked_at_last_or_alone():
    bench = Bench(fallbacks={"slow"})
    race(bench)
    assert set(bench.groups[0]) == {name for name in DEFAULTS if name.startswith("fast")}
    assert bench.groups[1][:2] == ["fast/other/fp32", "slow/auto/fp32"]
    short = Bench(fallbacks={"slow"})
    assert set(race(short, budget_of(short, seconds=1.0)).trials) == set(bench.groups[0])
    failing = {name for name in NAMES if name.startswith("fast")}
    alone = Bench(fallbacks={"slow"}, fails=failing)
    assert race(alone, budget_of(alone, seconds=1.0)).trials["slow/auto/fp32"].ok
    assert race(Bench(fallbacks={"slow", "fast"})).trials.keys() == set(NAMES)


def test_variants_of_an_engine_that_is_far_behind_in_every_layer_are_not_measured():
    bench = Bench(slow_ms=3.0)
    assert set(race(bench).trials) == {*DEFAULTS, "fast/other/fp32"}
    (note,) = bench.notes
    assert "4 uniform plans are not measured" in note and "slow/b/fp32" in note
    frugal = Bench(slow_ms=3.0, goal=Objective.MEMORY)  # which a slow engine may take little of
    assert set(race(frugal).trials) == set(NAMES)


def test_a_short_budget_still_looks_at_each_engine_and_says_what_was_left_out():
    bench = Bench()
    profile = race(bench, budget_of(bench, seconds=1.0))
    assert set(profile.trials) == DEFAULTS and len(bench.groups) == 1
    assert np.isnan(profile.layer_ms[:, 1]).all()  # not measured, so not to be chosen
    least, left = bench.notes
    assert "the budget of 1 s is less than" in least
    assert "5 of 8 uniform plans were not measured, for want of time: fast/other/fp32" in left


def test_mixed_plans_keep_their_share_of_the_time():
    bench = Bench(slow_ms=1.4, goal=Objective.MEMORY)
    race(bench, budget_of(bench, seconds=50.0))
    assert len(bench.groups) == 2  # of three, though there is time for four


@pytest.mark.parametrize(("most", "raced"), [(1, 3), (4, 4), (6, 6), (100, 8)])
def test_a_number_of_measurements_holds(most, raced):
    bench = Bench()
    assert len(race(bench, budget_of(bench, measurements=most)).trials) == raced
    assert all(len(group) <= PIECE for group in bench.groups)
    assert bool(bench.notes) is (raced < 8)
    assert all("want of measurements" in note for note in bench.notes)


def test_what_fails_is_left_out_and_said():
    bench = Bench(fails={"slow/auto/fp32"})
    assert not race(bench).trials["slow/auto/fp32"].ok
    assert "slow/auto/fp32 is left out: crashed: it fell" in bench.notes
    with pytest.raises(InfeasibleError, match="no engine on the board runs this"):
        race(Bench(fails=NAMES))
