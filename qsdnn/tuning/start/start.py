"""The start of a search: all that is measured before anything is learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from qsdnn.errors import InfeasibleError
from qsdnn.model.workload import signature
from qsdnn.store import Store, Term
from qsdnn.tuning.bench import Bench
from qsdnn.tuning.budget import Budget
from qsdnn.tuning.config import Objective, SearchConfig
from qsdnn.tuning.history import History
from qsdnn.tuning.limits.assessor import Assessor
from qsdnn.tuning.limits.constraint import Constraint, Unlimited
from qsdnn.tuning.prepare import Prepared
from qsdnn.tuning.start.race import race
from qsdnn.tuning.start.transfer import outclassed, prior_of
from qsdnn.tuning.trial import Profile, Trial, usable

ENERGY_SHARE, FRONT_SHARE = 0.25, 0.3
"""The shares of the budget for the energy of the best plans, and for the accuracy's front."""

FINALISTS = 8
"""The number of plans of a final whose accuracy is evaluated on data kept apart, with the
reference."""

EVALUATIONS = 5
"""The multiple of fp32's evaluation time that a search needs for evaluations on all its data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The state of a search that has measured its uniform plans.

    Attributes:
        bench: The bench that builds and measures plans, of what can be chosen now.
        profile: The profile of the uniform plans.
        constraint: The constraint that plans must keep.
        uniform: The fastest uniform plan that keeps the constraint.
        history: The history of all that was measured of mixed plans, and what is expected of
            others.
        mixing: The budget of mixed plans: what is left beside the final.
        signatures: The signature of each layer.
        elsewhere: The terms that searches of other networks, and on other boards of the kind, have
            learned.
        spared: The primitives that are not measured: those searches had shown them to be slow.
    """

    bench: Bench
    profile: Profile = field(repr=False)
    constraint: Constraint = field(repr=False)
    uniform: Trial = field(repr=False)
    history: History = field(repr=False)
    mixing: Budget
    signatures: Sequence[str] = field(repr=False)
    elsewhere: Sequence[Term] = field(repr=False)
    spared: tuple[str, ...] = ()


def start(
    prepared: Prepared,
    store: Store,
    assessor: Assessor | None,
    budget: Budget,
    on_look: Callable[[Profile], None] = lambda profile: None,
) -> Started:
    """Races uniform plans, evaluates the accuracy they lose, and looks up earlier searches.

    Args:
        prepared: The network and the board, ready to measure.
        store: The store in which earlier searches left what they learned.
        assessor: The assessor that evaluates plans; None where no accuracy may be lost.
        budget: The budget of the whole search.
        on_look: Called with the profile of the first looks at the engines, unless accuracy may be
            lost: then it is not known which plans may be chosen.

    Raises:
        InfeasibleError: No engine runs the network, or no uniform plan keeps the limits.
    """
    graph, info = prepared.graph, prepared.bench.measurer.info
    config = prepared.bench.config
    signatures = [signature(layer, graph) for layer in graph.layers]
    elsewhere = _learned_elsewhere(prepared, store)
    bench, spared = _without_slow(prepared.bench, elsewhere, signatures)
    evaluating_s = EVALUATIONS * assessor.check() if assessor is not None else 0.0
    for_latency = budget.less(_afterwards_s(config))
    looked = on_look if assessor is None else lambda profile: None
    space, profile = usable(bench.space, race(bench, for_latency.less(evaluating_s), looked))
    bench = bench.within(space)
    mixing = for_latency.less(bench.pace.final_s(profile.best))
    constraint: Constraint = Unlimited()
    if assessor is not None:
        constraint = assessor.limit(space, profile, mixing.less(evaluating_s))
    return Started(
        bench=bench,
        profile=profile,
        constraint=constraint,
        uniform=best_admitted(profile, constraint),
        history=History(
            space, profile, prior_of(elsewhere, space, profile.layer_ms, signatures, info)
        ),
        mixing=mixing.less(constraint.evaluating_s(FINALISTS)),
        signatures=signatures,
        elsewhere=elsewhere,
        spared=spared,
    )


def best_admitted(profile: Profile, constraint: Constraint) -> Trial:
    """The fastest uniform plan that keeps the constraint.

    Raises:
        InfeasibleError: No uniform plan keeps the constraint.
    """
    for trial in profile.best:
        if constraint.admits([trial.choice])[0]:
            return trial
    names = profile.names
    nearest = max(profile.best, key=lambda trial: constraint.sqnr_db(trial.choice))
    raise InfeasibleError(
        f"no uniform plan keeps the limit; nearest is {names[nearest.key]}: "
        f"{constraint.refusal(nearest.choice)}",
        hint="allow more: a larger --max-drop, a smaller --min-sqnr",
    )


def _afterwards_s(config: SearchConfig) -> float:
    """The time that is kept for what is measured besides latency, once the rounds are over."""
    share = ENERGY_SHARE * config.goal.asks(Objective.ENERGY) + FRONT_SHARE * config.pareto
    return share * config.budget_s


def _learned_elsewhere(prepared: Prepared, store: Store) -> list[Term]:
    """The terms that searches of other networks, and on other boards of the kind, have learned."""
    bench = prepared.bench
    if bench.config.remeasure:  # the store is not to be believed
        return []
    info = bench.measurer.info
    return [
        term
        for term in store.terms(str(info.facts.get("cpu", "")), bench.config.threads)
        if term.network != prepared.graph.sha256 or term.board != info.fingerprint
    ]


def _without_slow(
    bench: Bench, known: Sequence[Term], signatures: Sequence[str]
) -> tuple[Bench, tuple[str, ...]]:
    """The bench without primitives that need not be measured, and their names.

    Slow primitives are of use where more than latency counts.
    """
    config = bench.config
    columns = outclassed(known, bench.space, signatures, bench.measurer.info)
    if not columns or config.weighs or not config.goal.is_latency_alone:
        return bench, ()
    mask = bench.space.mask.copy()
    mask[:, columns] = False
    names = tuple(str(bench.space.primitives[column]) for column in columns)
    bench.listener.note(
        f"not tried, since earlier searches found faster ones in the same engine for all such "
        f"layers: {', '.join(names)}; --remeasure tries them"
    )
    return bench.within(replace(bench.space, mask=mask)), names
