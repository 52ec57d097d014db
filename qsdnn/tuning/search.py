"""The search: measure uniform plans, learn on a model and measure on the board by turns, verify."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qsdnn.agents import agent
from qsdnn.board import Board
from qsdnn.cost.model import CostModel
from qsdnn.listener import Listener
from qsdnn.measure.measurer import Measurer
from qsdnn.model.layer import Graph
from qsdnn.plan import Plan
from qsdnn.space import Space
from qsdnn.store import Store
from qsdnn.tuning.budget import Budget
from qsdnn.tuning.config import Objective, SearchConfig
from qsdnn.tuning.finish.decision import check_sensors, decide, measure_frugal
from qsdnn.tuning.finish.draft import Draft
from qsdnn.tuning.finish.fastest import finish
from qsdnn.tuning.finish.final import Final
from qsdnn.tuning.finish.pareto import Point, front
from qsdnn.tuning.limits.assessor import Assessor
from qsdnn.tuning.limits.constraint import AccuracyLimit, Constraint, Unlimited
from qsdnn.tuning.prepare import Prepared, prepare
from qsdnn.tuning.rounds.loop import Learning, Rounds
from qsdnn.tuning.start.initial_design import explore
from qsdnn.tuning.start.start import Started, start
from qsdnn.tuning.start.transfer import learned
from qsdnn.tuning.stopwatch import Mark, Stopwatch
from qsdnn.tuning.trial import Profile, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The findings of a search.

    Attributes:
        config: The settings of the search.
        graph: The network; its weights file is gone.
        cost: The last cost model, and the space in it.
        predicted_ms: The latency of the winner by the last cost model, as the plan is cut.
        profile: The profile of the uniform plans.
        plan: The plan that is written.
        front: The plans that no other beats in latency, accuracy and memory; empty where they were
            not asked for.
        learning: The record of what the agent did.
        prior_networks: The number of networks whose searches told this one what to expect.
        spared: The primitives that were not measured: those searches had shown them to be slow.
        mixed_plans: The number of mixed plans that were measured.
        group_s: The wall time of a group of mixed plans.
        final: The outcome of the final: the plan that won, verified.
        measurer: The measurer, which knows what was measured, and where.
        wall_s: The wall time of the whole search, without the time the board was waited for.
        spent_s: The seconds of each `Part` of that time.
        reached_s: The seconds from the start to each `Mark` that was reached.
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
    spent_s: Mapping[str, float]
    reached_s: Mapping[str, float]


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
        config: The settings of the search.
        board: The board, already started.
        store: The store in which measurements are kept and found again.
        listener: The listener that is told of progress.
        on_plan: Called with the best plan so far, an interim one, whenever a better one is found.
        start_s: The time by `time.monotonic` when the budget began; None is now.

    Raises:
        QsdnnError: Anything the user can act on.
    """
    start_s = time.monotonic() if start_s is None else start_s
    learner = agent(config.agent, config.preset)  # a wrong name fails before measuring
    with tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch:
        stopwatch = Stopwatch(start_s)
        prepared = prepare(config, board, store, listener, Path(scratch), stopwatch)
        counts = prepared.bench.measurer.counts
        budget = Budget(
            seconds=config.budget_s,
            measurements=config.measurements,
            counts=counts,
            start_s=start_s,
        )
        prepared.bench.hold()
        check_sensors(prepared.bench, config.goal)
        latest = _Latest(on_plan, stopwatch)

        def on_look(profile: Profile) -> None:
            draft = _draft(prepared, prepared.bench.space, profile, Unlimited())
            latest.keep(draft, profile.best[0], profile.best[0].latency_ms)

        assessor = _assessor(prepared, board, store)
        started = start(prepared, store, assessor, budget, on_look)
        bench, history = started.bench, started.history
        draft = _draft(prepared, bench.space, started.profile, started.constraint)

        def keep(trial: Trial, predicted_ms: float) -> None:
            latest.keep(draft, trial, predicted_ms)

        keep(started.uniform, started.uniform.latency_ms)
        explore(bench, started.profile, history, started.mixing)
        rounds = Rounds(bench, history, started.uniform, learner, started.constraint, keep)
        cost = rounds.run(started.mixing)
        group_s = bench.pace.group_s
        _remember(prepared, started, store)
        final = _final(prepared, started, rounds, cost, budget)
        predicted_ms = history.predict(final.trial)
        points = _front(started, cost, final) if config.pareto else []
        networks = {term.network for term in started.elsewhere}
        return Found(
            config=config,
            graph=prepared.graph,
            cost=cost,
            predicted_ms=predicted_ms,
            profile=started.profile,
            plan=draft.plan(final.trial, predicted_ms, standings=final.standings),
            group_s=group_s,
            mixed_plans=len({t.key for t in history.trials} - set(started.profile.names)),
            front=tuple((p, draft.plan(p.trial, history.predict(p.trial))) for p in points),
            learning=rounds.learning,
            prior_networks=len(networks) if history.prior else 0,
            spared=started.spared,
            final=final,
            measurer=bench.measurer,
            wall_s=budget.elapsed_s,
            spent_s=stopwatch.spent_s(),
            reached_s=stopwatch.reached_s(),
        )


class _Latest:
    """Passes on interim plans, each once.

    Args:
        on_plan: Called with each plan that is another one than the last.
        stopwatch: The stopwatch of the search.
    """

    def __init__(self, on_plan: Callable[[Plan], None], stopwatch: Stopwatch) -> None:
        self._on_plan = on_plan
        self._stopwatch = stopwatch
        self._key = b""

    def keep(self, draft: Draft, trial: Trial, predicted_ms: float) -> None:
        """Passes on the plan of a trial, the best so far."""
        if trial.key == self._key:
            return
        self._key = trial.key
        self._on_plan(draft.plan(trial, predicted_ms, interim=True))
        self._stopwatch.mark(Mark.FIRST_PLAN)
        self._stopwatch.mark(Mark.BEST_PLAN)


def _assessor(prepared: Prepared, board: Board, store: Store) -> Assessor | None:
    """The assessor of plans; None where no accuracy may be lost."""
    bench, samples = prepared.bench, prepared.samples
    config = bench.config.accuracy
    if config is None or samples is None:
        return None
    return Assessor(config, samples, bench.builder, board, store, bench.listener, bench.stopwatch)


def _draft(prepared: Prepared, space: Space, profile: Profile, constraint: Constraint) -> Draft:
    return Draft(
        config=prepared.bench.config,
        graph=prepared.graph,
        info=prepared.bench.measurer.info,
        space=space,
        profile=profile,
        constraint=constraint,
        calibration=prepared.calibration,
    )


def _remember(prepared: Prepared, started: Started, store: Store) -> None:
    """Leaves what was learned in the store, for searches of other networks."""
    graph, bench = prepared.graph, started.bench
    belief, info = started.history.belief(), bench.measurer.info
    store.put_terms(learned(belief, info, graph.sha256, started.signatures, bench.config.threads))


def _final(
    prepared: Prepared, started: Started, rounds: Rounds, cost: CostModel, budget: Budget
) -> Final:
    bench, constraint, ranked = started.bench, started.constraint, rounds.ranked()
    goal = bench.config.goal
    if goal.objective is Objective.MEMORY:
        ranked += measure_frugal(bench, prepared.graph, cost, ranked, constraint)
    if goal.is_latency_alone:
        return finish(bench, started.profile, ranked, constraint, budget)
    return decide(goal, bench, started.profile, ranked, constraint, budget)


def _front(started: Started, cost: CostModel, final: Final) -> list[Point]:
    if not isinstance(started.constraint, AccuracyLimit):
        return []
    known = [final.trial, *started.profile.best]
    return front(started.bench, started.constraint, cost, final.uniform[1], known)
