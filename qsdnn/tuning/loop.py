"""The search: profile, then learn on the model and measure on the board in turn, then verify."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qsdnn.agents import agent
from qsdnn.board import ANY, Board, Reference, check_threads
from qsdnn.plan.build import Builder
from qsdnn.model.calibration import Calibration
from qsdnn.cost.model import CostModel
from qsdnn.engine import load_engines
from qsdnn.errors import InputError
from qsdnn.model.feeds import random_feeds, read_feeds
from qsdnn.model import load_graph
from qsdnn.model.layer import Graph
from qsdnn.model.precision import precision_notes
from qsdnn.model.randomness import check_repeatable
from qsdnn.model.signature import signature
from qsdnn.plan import Plan
from qsdnn.primitive import Precision
from qsdnn.tuning.limits.assessor import Assessor, Samples, calibrate, read_samples
from qsdnn.tuning.budget import Budget
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.limits.constraint import AccuracyLimit, Constraint, Unlimited
from qsdnn.tuning.finish.decision import check_sensors, decide, measure_frugal
from qsdnn.tuning.finish.draft import Draft
from qsdnn.tuning.finish.entrants import best_admitted
from qsdnn.tuning.start.initial_design import explore
from qsdnn.tuning.finish.final import Final, finish
from qsdnn.tuning.start.transfer import learned, prior_of
from qsdnn.listener import Listener
from qsdnn.tuning.history import Logbook
from qsdnn.measure.measurer import Measurer
from qsdnn.tuning.limits.goal import Objective
from qsdnn.tuning.start.outclassed import outclassed
from qsdnn.tuning.finish.pareto import Point, front
from qsdnn.tuning.profile import Profile, usable
from qsdnn.tuning.start.race import race
from qsdnn.tuning.rounds.loop import Learning, Rounds
from qsdnn.tuning.bench import Bench
from qsdnn.tuning.trial import Trial
from qsdnn.space import space_of
from qsdnn.store import Store, Term

ENERGY_SHARE, FRONT_SHARE = 0.25, 0.3
"""Of the budget: for the energy of the best plans, and for the front of latency and accuracy."""

FINALISTS = 8
"""Plans of a final whose accuracy is evaluated on data kept apart, the reference among them."""

EVALUATIONS = 5
"""Times that the evaluation of fp32 took: for those of a search at the least, on all its data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found.

    Attributes:
        config: What was asked.
        graph: The network; its weights file is gone.
        cost: The last cost model, and the space in it.
        predicted_ms: Latency of the winner by the last cost model, as the plan is cut.
        profile: The uniform plans.
        plan: What is written.
        front: Plans that no other beats in both latency and accuracy, if they were asked for.
        learning: What the agent did.
        prior_networks: Networks whose searches told this one what to expect.
        spared: Primitives that were not measured: those searches had shown them to be slow.
        mixed_plans: Mixed plans that were measured.
        group_s: Wall time of a group of them.
        final: The plan that won, verified.
        measurer: What was measured, and where.
        wall_s: How long it all took.
    """

    config: SearchConfig
    graph: Graph
    cost: CostModel
    predicted_ms: float
    profile: Profile = field(repr=False)
    plan: Plan = field(repr=False)
    front: tuple[tuple[Point, Plan], ...] = field(repr=False)
    learning: Learning
    prior_networks: int
    spared: tuple[str, ...]
    mixed_plans: int
    group_s: float
    final: Final
    measurer: Measurer = field(repr=False)
    wall_s: float


def search(
    config: SearchConfig,
    board: Board,
    store: Store,
    listener: Listener,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    start_s: float | None = None,
) -> Found:
    """Finds the fastest plan of a network on a board.

    Args:
        config: What is asked.
        board: Started.
        store: Where measurements are kept and found again.
        listener: Told of progress.
        on_plan: Given the best plan so far, an interim one, whenever there is a better one.
        start_s: When the budget's time began, by `time.monotonic`; now when None.

    Raises:
        QsdnnError: Anything the user can act on.
    """
    start = time.monotonic() if start_s is None else start_s
    learner = agent(config.agent, config.preset)  # a wrong name fails before measuring
    with tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch:
        prepared = prepare(config, board, store, listener, Path(scratch))
        bench, graph = prepared.bench, prepared.graph
        info, counts = bench.measurer.info, bench.measurer.counts
        budget = Budget(
            seconds=config.budget_s, measurements=config.measurements, counts=counts, start_s=start
        )
        check_sensors(bench, config.goal)
        assessor, evaluating_s = _assessor(prepared, board, store)
        signatures = [signature(layer, graph) for layer in graph.layers]
        elsewhere = _learned_elsewhere(bench, store, graph)
        spared = _spare(bench, elsewhere, signatures)
        for_latency = budget.less(_afterwards_s(config))
        measured = race(bench, for_latency.less(evaluating_s))
        bench.space, measured = usable(bench.space, measured)
        mixing = for_latency.less(bench.pace.final_s(measured.best))
        constraint: Constraint = Unlimited()
        if assessor is not None:
            constraint = assessor.limit(bench.space, measured, mixing.less(evaluating_s))
        mixing = mixing.less(constraint.evaluating_s(FINALISTS))
        uniform = best_admitted(measured, constraint)
        draft = Draft(
            config=config,
            graph=graph,
            info=info,
            space=bench.space,
            profile=measured,
            constraint=constraint,
            calibration=prepared.calibration,
        )

        def keep(trial: Trial, predicted_ms: float) -> None:
            on_plan(draft.plan(trial, predicted_ms, interim=True))

        keep(uniform, uniform.latency_ms)
        prior = prior_of(elsewhere, bench.space, measured.layer_ms, signatures, info)
        logbook = Logbook(bench.space, measured, prior)
        explore(bench, measured, logbook, mixing)
        rounds = Rounds(bench, logbook, uniform, learner, constraint, keep)
        cost = rounds.run(mixing)
        group_s = bench.pace.group_s
        store.put_terms(learned(logbook.belief(), info, graph.sha256, signatures, config.threads))
        ranked = rounds.ranked()
        if config.objective is Objective.MEMORY:
            ranked += measure_frugal(bench, graph, cost, ranked, constraint)
        if config.goal.is_latency_alone:
            final = finish(bench, measured, ranked, constraint, budget)
        else:
            final = decide(config.goal, bench, measured, ranked, constraint, budget)
        predicted_ms = logbook.predict(final.trial)
        points: list[Point] = []
        if config.pareto and isinstance(constraint, AccuracyLimit):
            known = [final.trial, *measured.best]
            points = front(bench, constraint, cost, final.uniform[1], known)
        return Found(
            config=config,
            graph=graph,
            cost=cost,
            predicted_ms=predicted_ms,
            profile=measured,
            plan=draft.plan(final.trial, predicted_ms, standings=final.standings),
            group_s=group_s,
            mixed_plans=len({t.key for t in logbook.trials} - set(measured.names)),
            front=tuple((p, draft.plan(p.trial, logbook.predict(p.trial))) for p in points),
            learning=rounds.learning,
            prior_networks=len({term.network for term in elsewhere}) if logbook.prior else 0,
            spared=spared,
            final=final,
            measurer=bench.measurer,
            wall_s=time.monotonic() - start,
        )


def _afterwards_s(config: SearchConfig) -> float:
    """Time that is kept for what is measured besides latency, once the rounds are over."""
    share = ENERGY_SHARE * config.goal.asks(Objective.ENERGY) + FRONT_SHARE * config.pareto
    return share * config.budget_s


def _learned_elsewhere(bench: Bench, store: Store, graph: Graph) -> list[Term]:
    """What searches of other networks, and on other boards of the kind, have learned."""
    if bench.config.remeasure:  # the store is not to be believed
        return []
    info = bench.measurer.info
    return [
        term
        for term in store.terms(str(info.facts.get("cpu", "")), bench.config.threads)
        if term.network != graph.sha256 or term.board != info.fingerprint
    ]


def _spare(bench: Bench, known: Sequence[Term], signatures: Sequence[str]) -> tuple[str, ...]:
    """Takes primitives out of the space that need not be measured, and names them.

    Slow ones are of use where more than latency counts.
    """
    config = bench.config
    columns = outclassed(known, bench.space, signatures, bench.measurer.info)
    if not columns or config.weighs or not config.goal.is_latency_alone:
        return ()
    mask = bench.space.mask.copy()
    mask[:, columns] = False
    names = tuple(str(bench.space.primitives[column]) for column in columns)
    bench.space = replace(bench.space, mask=mask)
    bench.listener.note(
        f"not tried, since earlier searches found faster ones in the same engine for all such "
        f"layers: {', '.join(names)}; --remeasure tries them"
    )
    return names


def _assessor(prepared: Prepared, board: Board, store: Store) -> tuple[Assessor | None, float]:
    """Evaluates plans, where accuracy may be lost; and the time that it needs at the least."""
    bench, samples = prepared.bench, prepared.samples
    config = bench.config.accuracy
    if config is None or samples is None:
        return None, 0.0
    assessor = Assessor(config, samples, bench.builder, board, store, bench.listener)
    return assessor, EVALUATIONS * assessor.check()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A network and a board, ready to measure.

    Attributes:
        bench: Builds and measures plans.
        graph: The network.
        samples: The user's, where accuracy may be lost.
        calibration: By them.
    """

    bench: Bench
    graph: Graph
    samples: Samples | None = None
    calibration: Calibration | None = None


def prepare(
    config: SearchConfig, board: Board, store: Store, listener: Listener, folder: Path
) -> Prepared:
    """Loads a network and sets up all that builds and measures its plans.

    Args:
        config: What is asked.
        board: Started.
        store: Where measurements are kept.
        listener: Told of progress.
        folder: Where artifacts go.
    """
    engines = load_engines(config.engines)
    listener.phase("Loading", 2)
    graph = load_graph(config.model, config.shapes, workdir=folder)
    check_repeatable(graph)
    listener.step()
    for layer in graph.layers:
        if layer.pinned:
            listener.note(f"layer '{layer.name}' runs in onnxruntime only: {layer.pinned}")
    for note in precision_notes(graph):
        listener.note(note)
    inputs = {name: graph.tensors[name] for name in graph.inputs}
    samples = calibration = None
    if config.accuracy is not None:
        samples = read_samples(config.accuracy, graph, config.seed)
        if Precision.INT8 in config.precisions:
            calibration = calibrate(config.accuracy, graph, samples)
    builder = Builder(
        graph,
        engines,
        folder,
        threads=config.threads,
        calibration=calibration,
        infos=board.probe().engines,
    )
    path = config.inputs
    feeds = read_feeds(path, inputs) if path else random_feeds(inputs, config.seed)
    measurer = Measurer(
        board,
        store,
        builder.reference,
        Reference(feeds=feeds, tolerance=config.tolerance if samples is None else ANY),
        remeasure=config.remeasure,
        on_note=listener.note,
    )
    check_threads(measurer.info, config.threads)
    listener.step()
    absent = sorted(set(config.engines or ()) - set(measurer.info.engines))
    if absent:
        raise InputError(
            f"the board {measurer.info.name} does not have {', '.join(absent)}",
            hint=f"it has {', '.join(measurer.info.engines)}; to add all: pip install 'qsdnn[all]'",
        )
    space = space_of(graph, engines, measurer.info.engines, config.precisions)
    for precision in set(config.precisions) - {p.precision for p in space.primitives}:
        listener.note(f"no engine on the board computes in {precision}")
    bench = Bench(space, builder, measurer, config, listener)
    return Prepared(bench=bench, graph=graph, samples=samples, calibration=calibration)
