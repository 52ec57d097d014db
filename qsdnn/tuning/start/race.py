"""The race of the uniform plans, which are the baselines: each engine's own default first.

The race begins with one look at each engine, in each precision, but for those that are for where
others are missing (`qsdnn.engine.Fallback`). The other uniform plans follow a few at a time beside
the fastest so far, those of fast engines first: these before any mixed plan, for one of them may be
the fastest of all; those of slow engines, and of the engines not looked at, while their share of
the budget lasts. What can gain nothing any more, by what others have shown, is not measured. Each
piece is stored when it ends. What a search had no time to measure cannot be chosen for any layer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf

from qsdnn.board import MeasureOptions
from qsdnn.errors import InfeasibleError
from qsdnn.tuning.bench import Bench
from qsdnn.tuning.budget import START_S, Budget, unlimited
from qsdnn.tuning.config import WORTH, Objective
from qsdnn.tuning.start.uniform import Choice, Kind, defaults, kind_of, uniform_plans
from qsdnn.tuning.start.usefulness import useful
from qsdnn.tuning.stopwatch import Part
from qsdnn.tuning.trial import Profile, Trial, collect

SLOW = 1.2
"""The factor of the fastest default's time from which an engine is slow: its variants gain little
on it, seldom so much that one is the fastest, and mixed plans are worth more of a short budget."""

SHARE = 0.25
"""The share of the time left beside the final that uniform plans of slow engines may take; the rest
is for mixed plans."""

PIECE = 6
"""The number of uniform plans measured side by side: each is compared with the fastest only."""

SHORT_S = 45.0
"""The budget below which a uniform plan gets three runs at the least; otherwise seven."""

PRECISION = 0.02
"""The precision of a uniform plan's latency, relative: the final decides, not the race."""

LOOK_LOADS, FINAL_LOADS = 3, 5
"""The number of times that the reference's run takes: for the first look at each engine, which is
timed and profiled; and for the final, where each engine is loaded bare and as a plan in two to
three processes."""


def race(
    bench: Bench,
    budget: Budget | None = None,
    on_look: Callable[[Profile], None] = lambda profile: None,
) -> Profile:
    """Measures and profiles uniform plans until all are known or their time is over.

    Args:
        bench: The bench that builds and measures plans.
        budget: The budget of the search; None measures all uniform plans.
        on_look: Called with the profile of the first looks, if one of them ended well.

    Raises:
        InfeasibleError: No engine runs the network.
    """
    budget = budget or unlimited(bench.measurer.counts)
    plans = uniform_plans(bench.space)
    own = defaults(bench.space, plans)
    first = own
    if bench.config.objective is Objective.LATENCY:  # a slow engine may take little of others
        first = [name for name in own if not bench.builder.is_fallback(kind_of(name)[0])] or own
    _tell_least(bench, budget, len({kind_of(name)[0] for name in first}))
    bench.listener.phase("Racing uniform plans", len(plans))
    trials: dict[str, Trial] = {}
    _measure(bench, {name: plans[name] for name in first}, budget, trials)
    if not any(trial.ok for trial in trials.values()) and len(first) < len(own):
        others = {name: plans[name] for name in own if name not in first}
        _measure(bench, others, budget, trials)
    if any(trial.ok for trial in trials.values()):
        on_look(collect(bench.space, dict(trials)))
    share_s = budget.elapsed_s + SHARE * (budget.left_s - bench.pace.final_s(trials.values()))
    rest, useless = [*own, *plans], list[str]()
    while rest := _in_order(rest, trials):
        may_gain = _useful(bench, trials, rest)
        useless += [name for name in rest if name not in may_gain]
        if not (rest := may_gain):
            break
        slow_next = kind_of(rest[0]) in _slow(bench, trials)
        after_s = bench.pace.final_s(trials.values(), mixed=slow_next)
        room_s = min(budget.left_s - after_s, share_s - budget.elapsed_s if slow_next else inf)
        count = min(PIECE, budget.plans, room_s / max(bench.pace.profiled_s, 1e-3) - 1)
        if count < 1:
            break
        piece = _piece(rest, trials)[: int(count)]
        _measure(bench, {name: plans[name] for name in piece}, budget, trials)
    if useless:
        bench.listener.note(
            f"{len(useless)} uniform plans are not measured: other engines' layers are so much "
            f"faster that these could gain less than {WORTH:.0%}: {', '.join(useless)}"
        )
    if rest:
        bench.listener.note(
            f"{len(rest)} of {len(plans)} uniform plans were not measured, for want of "
            f"{'time' if budget.plans else 'measurements'}: {', '.join(rest)}"
        )
    _check(trials)
    return collect(bench.space, trials)


def _tell_least(bench: Bench, budget: Budget, engines: int) -> None:
    """Tells the listener at once the least time that a search takes, beside the budget."""
    start_s = time.monotonic()
    with bench.stopwatch.part(Part.CHECKING):
        bench.measurer.reference(bench.listener.status)
    once_s = max(0.0, time.monotonic() - start_s - START_S)
    look_s = LOOK_LOADS * (START_S + engines * once_s)
    final = 3 * START_S + FINAL_LOADS * engines * once_s
    least_s = budget.elapsed_s + look_s + final + budget.reserved_s
    if budget.seconds == float("inf"):
        return
    if least_s > budget.seconds:
        bench.listener.note(
            f"the budget of {budget.seconds:g} s is less than one look at each of {engines} "
            f"engines and the final take: this search takes about {least_s:.0f} s"
        )
    else:
        bench.listener.note(
            f"takes {budget.seconds:g} s at the most, of which loading, one look at each of "
            f"{engines} engines and the final are about {least_s:.0f} s"
        )


def _in_order(names: Sequence[str], trials: Mapping[str, Trial]) -> list[str]:
    """The uniform plans not yet measured, by how fast their engine is in their precision.

    Engines that were not looked at are last.
    """
    look_ms = {kind_of(name): trial.latency_ms for name, trial in trials.items()}
    left = [name for name in dict.fromkeys(names) if name not in trials]
    return sorted(left, key=lambda name: look_ms.get(kind_of(name), inf))


def _useful(bench: Bench, trials: Mapping[str, Trial], names: Sequence[str]) -> list[str]:
    """The uniform plans that may gain something, where latency is all that matters."""
    if not bench.config.goal.is_latency_alone or bench.config.weighs:
        return list(names)
    return useful(bench.space, trials, names)


def _piece(names: Sequence[str], trials: Mapping[str, Trial]) -> list[str]:
    """The uniform plans to measure next: of an engine that was not looked at, its default alone."""
    looked_at = {kind_of(name) for name in trials}
    first = dict[Kind, str]()
    for name in names:
        first.setdefault(kind_of(name), name)
    piece = [n for n in names if kind_of(n) in looked_at or n == first[kind_of(n)]]
    return piece[:PIECE]


def _slow(bench: Bench, trials: Mapping[str, Trial]) -> set[Kind]:
    """The engines and precisions whose first look was slow, or is not worth its time."""
    fastest_ms = min(trial.latency_ms for trial in trials.values())
    slow = {kind_of(name) for name, t in trials.items() if t.latency_ms > SLOW * fastest_ms}
    kinds = {(primitive.engine, primitive.precision) for primitive in bench.space.primitives}
    return slow | (kinds - {kind_of(name) for name in trials})


def _measure(
    bench: Bench, plans: Mapping[str, Choice], budget: Budget, trials: dict[str, Trial]
) -> None:
    """Measures a group of plans beside the fastest so far, and adds their trials to `trials`."""
    best = sorted((t for t in trials.values() if t.ok), key=lambda trial: trial.latency_ms)[:1]
    measured = bench.measure(list(plans.values()), "profile", _options(bench, budget), anchors=best)
    piece = dict(zip(plans, measured, strict=True))
    for name, trial in piece.items():
        if not trial.ok:
            bench.listener.note(f"{name} is left out: {trial.record.state}: {trial.record.error}")
        bench.listener.step()
    bench.remember(piece)
    trials |= piece
    bench.tell_best(trials.values())


def _options(bench: Bench, budget: Budget) -> MeasureOptions:
    return replace(
        bench.options(),
        profile=True,
        min_runs=3 if budget.seconds < SHORT_S else 7,
        precision=PRECISION,
    )


def _check(trials: Mapping[str, Trial]) -> None:
    if any(trial.ok for trial in trials.values()):
        return
    errors = "; ".join(f"{n}: {t.record.state}: {t.record.error}" for n, t in trials.items())
    raise InfeasibleError(f"no engine on the board runs this network: {errors}")
