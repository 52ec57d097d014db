"""What wins the end of a search: from what its sittings say, whatever was thought before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qsdnn.board import Applied, Package, Record, State, Trust
from qsdnn.errors import BuildError, VerificationError
from qsdnn.listener import Silent
from qsdnn.measure.measurer import Counts
from qsdnn.tuning.budget import FEWEST_CLAIMS, Budget, Pace, unlimited
from qsdnn.tuning.finish.entrants import plan_entrant
from qsdnn.tuning.finish.fastest import HEATS, finish
from qsdnn.tuning.finish.final import CLAIMS, Contest, Final
from qsdnn.tuning.finish.sittings import Kind
from qsdnn.tuning.limits.constraint import Unlimited
from qsdnn.tuning.stopwatch import Stopwatch
from qsdnn.tuning.trial import Profile, Trial

STABLE, THROTTLED = Trust.STABLE, Trust.THROTTLED
MIXED = ("mixed 0", "mixed 1", "mixed 2", "mixed 3")
RUNS = 9


def record(ms: float, trust: Trust = STABLE, **fields) -> Record:
    runs_ms = tuple(ms * (1 + 0.001 * (i % 3)) for i in range(RUNS))
    return Record(
        state=State.OK,
        runs_ms=runs_ms,
        segments_ms=tuple((run_ms,) for run_ms in runs_ms),
        ci95_ms=(ms, ms * 1.002),
        trust=trust,
        load_ms=100.0,
        **fields,
    )


def package(name: str) -> Package:
    manifest = {"segments": [{"engine": name.split("/")[0]}], "artifacts": {}}
    return Package(manifest=manifest, folder=Path("/"), digest=name)


class Bench:
    """Measures as it is told: a function gives the record of a package in a sitting."""

    def __init__(self, measured, *, bare=(), seconds=0.0) -> None:
        self.notes: list[str] = []
        self.sittings: list[set[str]] = []
        self.config = SimpleNamespace(threads=1, max_memory_mb=None)
        self.listener = Silent()
        self.listener.note = self.notes.append  # type: ignore[method-assign]
        self.pace = Pace(start_s=seconds)
        self.stopwatch = Stopwatch()
        self.builder = self
        self.measurer = SimpleNamespace(counts=Counts())
        self.now_s = 0.0
        self._measured, self._bare, self._seconds = measured, bare, seconds

    def bare(self, engine: str) -> Package:
        if engine not in self._bare:
            raise BuildError(f"{engine} cannot run it")
        return package(f"{engine} bare")

    def within_memory(self, found: Record) -> Record:
        return found

    def measure_packages(self, packages, purpose, options, *, paired=False) -> list[Record]:
        self.now_s += self._seconds
        if not options.profile:
            self.sittings.append({package.digest for package in packages})
        number = len(self.sittings) - 1
        return [self._measured(package.digest, number) for package in packages]


def trial(name: str, ms: float) -> Trial:
    number = sum(map(ord, name))
    return Trial(choice=np.array([number]), segments=(), package=package(name), record=record(ms))


def final_of(bench: Bench, mixed: dict[str, float], uniform: dict[str, float], **kinds) -> Final:
    """A final after a search that thought these plans took so many ms."""
    trials = {name: trial(name, ms) for name, ms in uniform.items()}
    profile = Profile(trials=trials, layer_ms=np.ones((1, 1)), applied=kinds.pop("applied", {}))
    every = [*(trial(name, ms) for name, ms in mixed.items()), *trials.values()]
    ranked = sorted(every, key=lambda one: one.latency_ms)
    return finish(bench, profile, ranked, Unlimited(), **kinds)  # type: ignore[arg-type]


def fixed(**ms):
    """Everything takes what it takes, in every sitting."""
    return lambda name, _: record(*ms[name.replace(" ", "_").replace("/", "_")])


UNIFORM = {"a/auto/fp32": 1.0, "b/auto/fp32": 1.1}


@pytest.mark.parametrize(
    ("mixed", "first", "second", "wins"),
    [
        ((0.9, STABLE), (1.0, STABLE), (1.1, STABLE), True),
        ((1.0, STABLE), (0.9, STABLE), (1.1, STABLE), False),
        ((0.9, THROTTLED), (1.0, STABLE), (1.1, STABLE), False),  # favoured by chance, perhaps
        ((0.9, THROTTLED), (1.0, THROTTLED), (1.1, THROTTLED), True),  # alike, and marked
    ],
)
def test_what_wins(mixed, first, second, wins):
    bench = Bench(fixed(mixed_0=mixed, a_auto_fp32=first, b_auto_fp32=second))
    final = final_of(bench, {"mixed 0": 0.9}, UNIFORM)
    assert final.mixed is wins
    assert final.trial.record.trust is (mixed if wins else first)[1]
    assert bool(bench.notes) is (not wins and mixed[0] < first[0])
    assert len(final.trial.record.runs_ms) == RUNS * len(bench.sittings)


def test_what_the_search_thought_of_the_engines_does_not_decide():
    """On a loaded machine it ranked b first, and a was 1.7 times as fast."""
    took = fixed(mixed_0=(1.5,), a_auto_fp32=(0.8,), b_auto_fp32=(1.36,), a_bare=(0.79,))
    final = final_of(
        Bench(took, bare=("a",)), {"mixed 0": 0.49}, {"a/auto/fp32": 0.82, "b/auto/fp32": 0.5}
    )
    assert not final.mixed and final.name == "a/auto/fp32"
    assert [standing.name for standing in final.standings] == [
        "a as it comes", "a/auto/fp32", "b/auto/fp32", "plan 1",
    ]  # fmt: skip
    assert final.best_single.kind is Kind.BARE
    assert final.best_single.ratio.value == pytest.approx(0.79 / 0.8)


def test_engines_are_also_run_as_they_come_and_onnxruntime_always():
    took = fixed(a_auto_fp32=(1.0,), a_bare=(0.99,), onnxruntime_bare=(2.0,))
    final = final_of(Bench(took, bare=("a", "onnxruntime")), {}, {"a/auto/fp32": 1.0})
    assert [(s.name, s.kind) for s in final.standings] == [
        ("a as it comes", Kind.BARE),
        ("a/auto/fp32", Kind.UNIFORM),
        ("onnxruntime as it comes", Kind.BARE),
    ]
    assert final.standings[-1].ratio.value == pytest.approx(2.0)


def test_what_chooses_a_mixed_plan_does_not_claim_for_it():
    """Of equal plans the one that was lucky in the heats is chosen; its luck is not counted."""

    def measured(name, sitting):
        lucky = name == "mixed 1" and sitting < HEATS
        return record(0.9 if lucky else 1.0 + 0.001 * (sitting % 2))

    bench = Bench(measured)
    final = final_of(bench, dict.fromkeys(MIXED, 0.9), {"a/auto/fp32": 1.0})
    assert not final.mixed
    heats, claims = bench.sittings[:HEATS], bench.sittings[HEATS:]
    assert all({*MIXED[:3], "a/auto/fp32"} == heat for heat in heats)  # three challengers
    claimed = {"mixed 1", "a/auto/fp32"}
    assert claims == [claimed] * FEWEST_CLAIMS  # by then it is no faster for sure


def test_a_plan_that_was_unlucky_in_the_heats_sits_in_the_claims_where_its_engine_does():
    """As on two threads, of which a neighbour took one while the plan ran, not the engine."""
    took = {"a bare": 0.5, "b/auto/fp32": 1.0, "b bare": 1.0}

    def measured(name, sitting):
        if name == "a/auto/fp32":
            return record(3.0 if sitting == 0 else 0.5)
        return record(took[name])

    bench = Bench(measured, bare=("a", "b"))
    final = final_of(bench, {}, {"a/auto/fp32": 0.5, "b/auto/fp32": 0.52})
    assert final.name == "a/auto/fp32" and not final.mixed


def test_entrants_that_never_sat_together_are_told_apart_by_their_medians():
    """The engine joined the heats when the plan that won had left them."""
    bench = Bench(lambda name, sitting: record(1.0))
    contest = Contest(
        bench,
        Profile(trials={}, layer_ms=np.ones((1, 1)), applied={}),
        [
            plan_entrant("a", Kind.UNIFORM, trial("a", 1.0)),
            plan_entrant("b", Kind.MIXED, trial("b", 1.0)),
        ],
        unlimited(Counts()),
    )
    a, b = contest.entrants
    contest.hold([a])
    contest.hold([b])
    final = contest.final(b, a)
    assert (final.ratio.value, final.ratio.sittings, final.ratio.is_interval) == (1.0, 0, False)


def test_one_unlucky_process_decides_nothing():
    def measured(name, sitting):
        return record((2.0 if sitting == HEATS + 4 else 0.9) if name == "mixed 0" else 1.0)

    bench = Bench(measured)
    assert final_of(bench, {"mixed 0": 0.9}, {"a/auto/fp32": 1.0}).mixed
    assert len(bench.sittings) == HEATS + CLAIMS


def test_a_plan_that_won_six_times_of_six_is_not_held_against_the_others_again():
    bench = Bench(fixed(mixed_0=(0.9,), a_auto_fp32=(1.0,)))
    assert final_of(bench, {"mixed 0": 0.9}, {"a/auto/fp32": 1.0}).mixed
    assert len(bench.sittings) == HEATS + FEWEST_CLAIMS


def test_a_plan_that_does_not_run_or_runs_as_something_else_does_not_win():
    asked, got = (Applied(primitive=f"a/{kernel}/fp32", kernel=kernel) for kernel in ("x", "y"))
    choices = {name: (0, int(trial(name, 1.0).choice[0])) for name in MIXED}

    def measured(name, sitting):
        if name == "mixed 0":
            return Record(state=State.CRASHED, error="it fell")
        kernel = got if name == "mixed 1" else asked
        return record(0.8 if name in MIXED else 1.0, applied={0: kernel})

    bench = Bench(measured)
    mixed = {name: 0.8 + i / 1000 for i, name in enumerate(MIXED[:3])}
    applied = {choices["mixed 1"]: asked, choices["mixed 2"]: asked}
    final = final_of(bench, mixed, {"a/auto/fp32": 1.0}, applied=applied)
    assert final.mixed and final.trial.package.digest == "mixed 2"
    assert "profiled as a/x/fp32 and ran as a/y/fp32" in bench.notes[0]


def test_no_engine_that_gives_the_reference_is_an_error():
    bench = Bench(lambda *_: Record(state=State.WRONG_OUTPUT, error="off by 2"))
    with pytest.raises(VerificationError, match="a/auto/fp32: wrong_output: off by 2"):
        final_of(bench, {}, {"a/auto/fp32": 1.0})


@pytest.mark.parametrize(
    ("sittings", "held", "mixed"),
    [(30, HEATS + FEWEST_CLAIMS, True), (9, 3 + FEWEST_CLAIMS, True), (3, 1, False)],
)
def test_as_many_sittings_are_held_as_the_budget_has_time_for(sittings, held, mixed):
    """Fewer than six say nothing with 95 % confidence, and are not begun."""
    bench = Bench(fixed(mixed_0=(0.9,), a_auto_fp32=(1.0,)), seconds=10.0)
    budget = Budget(
        seconds=13.0 * sittings,
        measurements=None,
        counts=Counts(),
        start_s=0.0,
        clock=lambda: bench.now_s,
    )
    final = final_of(bench, {"mixed 0": 0.9}, {"a/auto/fp32": 1.0}, budget=budget)
    assert abs(len(bench.sittings) - held) <= 2 and final.mixed is mixed
    assert bench.now_s <= 1.15 * 13.0 * sittings
    assert any("no time" in note for note in bench.notes) is not mixed
