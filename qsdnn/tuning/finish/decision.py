"""The end of a search that asks for more than least latency: which plan meets the goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qsdnn.board import MeasureOptions
from qsdnn.cost.model import CostModel
from qsdnn.errors import InfeasibleError, InputError, VerificationError
from qsdnn.listener import Listener
from qsdnn.model.layer import Graph
from qsdnn.tuning.bench import Bench
from qsdnn.tuning.budget import FEWEST_CLAIMS, Budget
from qsdnn.tuning.config import Cost, Goal, Objective, energy_mj, senses_power
from qsdnn.tuning.finish.entrants import keeping, plan_entrant
from qsdnn.tuning.finish.final import CLAIMS, Contest, Final
from qsdnn.tuning.finish.memory import frugal_plans
from qsdnn.tuning.finish.sittings import Entrant, Kind
from qsdnn.tuning.limits.constraint import Constraint
from qsdnn.tuning.trial import Profile, Trial

ENERGIES = 8
"""The number of plans whose energy is measured, the fastest, besides each engine's fastest
uniform."""

ENERGY_S = 5.0
"""The time for which the energy of each is measured: the board's sensors are read each second."""

TRIES = 5
"""The number of plans that may fail verification before it is said that none meets the goal."""

HINT = "allow more: a larger --max-latency, --max-energy or --max-memory"


def check_sensors(bench: Bench, goal: Goal) -> None:
    """Looks for a sensor of power before anything else is measured, where one is needed.

    Raises:
        InputError: The board has no sensor of power that can be read.
    """
    if not goal.asks(Objective.ENERGY):
        return
    options = MeasureOptions(
        threads=bench.config.threads, min_runs=1, max_runs=3, budget_s=0.5, again=0
    )
    reference = bench.builder.reference()
    (record,) = bench.measurer.measure([reference], "sensors", options)
    if not senses_power(record):
        name = bench.measurer.info.name
        raise InputError(
            f"the energy of a plan cannot be measured: board '{name}' has no sensor of power that "
            "can be read",
            hint=f"see qsdnn boards check {name}; or search without --objective energy and "
            "--max-energy",
        )


def decide(
    goal: Goal,
    bench: Bench,
    profile: Profile,
    ranked: Sequence[Trial],
    constraint: Constraint,
    budget: Budget,
) -> Final:
    """Measures what the goal asks for, and takes the best plan that keeps all limits.

    Args:
        goal: The objective and the limits that are asked for.
        bench: The bench that builds and measures plans.
        profile: The profile of the uniform plans.
        ranked: The trials of all plans measured, fastest first, no two alike.
        constraint: The constraint that plans must keep besides.
        budget: The budget of the search.

    Raises:
        InfeasibleError: No plan meets the goal; the message names the nearest.
    """
    names = profile.names
    if goal.asks(Objective.ENERGY):
        ranked = _fast(ranked, names)
    costs = dict(zip([t.key for t in ranked], _costs(goal, bench, ranked, budget), strict=True))
    best = [ranked[i] for i in goal.order(list(costs.values()))]
    within = [trial for trial in best if not goal.refusal(costs[trial.key])]
    uniform = [trial for trial in within if trial.key in names]
    rivals = keeping(bench, constraint, uniform or profile.best, 1)
    kept = keeping(bench, constraint, within, TRIES)
    if kept and not rivals:
        raise InfeasibleError("no uniform plan keeps the limit on data it was not calibrated with")
    for number, trial in enumerate(kept):
        bench.listener.phase("Final", CLAIMS)
        plan = _entrant(trial, names, number)
        beside = [] if plan.kind is Kind.UNIFORM else [_entrant(rivals[0], names)]
        contest = Contest(bench, profile, [plan, *beside], budget)
        final = _final(contest, goal, costs, bench.listener)
        if final is not None:
            return final
    raise InfeasibleError(_nearest(goal, best or ranked, costs, names), hint=HINT)


def measure_frugal(
    bench: Bench, graph: Graph, cost: CostModel, ranked: Sequence[Trial], constraint: Constraint
) -> list[Trial]:
    """Measures further plans that may take little memory.

    Args:
        bench: The bench that builds and measures plans.
        graph: The network.
        cost: The cost model of the last round.
        ranked: The trials of all plans measured, fastest first.
        constraint: The constraint that plans must keep.
    """
    weights_mb = np.array([layer.parameter_bytes for layer in graph.layers]) / 1e6
    plans = frugal_plans(cost, constraint, weights_mb, ranked)
    bench.listener.phase("Measuring plans of little memory", len(plans))
    return [trial for trial in bench.in_groups(plans, ranked[:1], "frugal") if trial.ok]


def _fast(ranked: Sequence[Trial], names: Mapping[bytes, str]) -> list[Trial]:
    """The fastest plans, and the fastest uniform plan of each engine."""
    chosen = {trial.key: trial for trial in ranked[:ENERGIES]}
    engines: set[str] = set()
    for trial in ranked:
        engine = names.get(trial.key, "").split("/")[0]
        if engine and engine not in engines:
            engines.add(engine)
            chosen.setdefault(trial.key, trial)
    return list(chosen.values())


def _costs(goal: Goal, bench: Bench, trials: Sequence[Trial], budget: Budget) -> list[Cost]:
    """The costs of plans; energy only where it is asked for, each plan measured alone.

    The energy of plans that the budget has no time for stays unknown.
    """
    asked = goal.asks(Objective.ENERGY)
    if asked:
        bench.listener.phase("Measuring energy", len(trials))
    costs: list[Cost] = []
    for trial in trials:
        energy = None
        if asked and (not costs or budget.left_s > ENERGY_S + FEWEST_CLAIMS * bench.pace.start_s):
            (alone,) = bench.measure([trial.choice], "energy", _alone(bench))
            energy = energy_mj(alone.record) if alone.ok else None
            bench.listener.step()
        costs.append(
            Cost(
                latency_ms=trial.latency_ms,
                memory_mb=trial.record.peak_memory_mb,
                energy_mj=energy,
            )
        )
    return costs


def _alone(bench: Bench) -> MeasureOptions:
    """The options for a plan alone: plans measured in turns would get one power, their mean."""
    return MeasureOptions(
        threads=bench.config.threads, max_runs=20_000, precision=0.0, budget_s=ENERGY_S, again=0
    )


def _final(
    contest: Contest, goal: Goal, costs: Mapping[bytes, Cost], listener: Listener
) -> Final | None:
    """The final of a plan beside the best uniform plan, if the plan is not uniform itself.

    Args:
        contest: The contest of the plan, and of the uniform plan.
        goal: The objective and the limits that are asked for.
        costs: The costs of the plans that were measured before, by their keys.
        listener: The listener that is told why a plan is rejected.

    Returns:
        None where the plan does not hold.
    """
    plan, rival = contest.entrants[0], contest.entrants[-1]
    contest.claim(contest.entrants, FEWEST_CLAIMS, CLAIMS)
    for entrant in contest.entrants:
        if contest.sittings.failure(entrant):
            listener.note(f"{entrant.name} is rejected: {contest.sittings.failure(entrant)}")
            return None
    taken, others = (_as_measured(contest.as_measured(entrant), costs) for entrant in (plan, rival))
    wrong = contest.complaint(plan) or goal.refusal(taken)
    if wrong:
        listener.note(f"a plan is rejected: {wrong}")
        return None
    measured = contest.as_measured(rival)
    if not measured.ok:
        raise VerificationError(f"{rival.name}: {measured.record.error}")
    if goal.objective is Objective.LATENCY and measured.key in costs and not goal.refusal(others):
        ratio = contest.sittings.ratio(plan, rival)
        if ratio is None or not ratio.is_faster:
            plan, taken = rival, others
    return contest.final(plan, rival, costs=(taken, others))


def _entrant(trial: Trial, names: Mapping[bytes, str], number: int = 0) -> Entrant:
    kind = Kind.UNIFORM if trial.key in names else Kind.MIXED
    return plan_entrant(names.get(trial.key, f"plan {number + 1}"), kind, trial)


def _as_measured(trial: Trial, costs: Mapping[bytes, Cost]) -> Cost:
    """The costs of a plan in the final; its energy was measured before."""
    before = costs.get(trial.key)
    return Cost(
        latency_ms=trial.record.latency_ms if trial.ok else float("inf"),
        memory_mb=trial.record.peak_memory_mb,
        energy_mj=None if before is None else before.energy_mj,
    )


def _nearest(
    goal: Goal, trials: Sequence[Trial], costs: Mapping[bytes, Cost], names: Mapping[bytes, str]
) -> str:
    """The reason why no plan meets the goal, by the plan that misses it least."""
    nearest = min(trials, key=lambda trial: goal.excess(costs[trial.key]))
    refusal = goal.refusal(costs[nearest.key]) or "it does not hold when it is verified"
    if costs[nearest.key].of(goal.objective) is None:
        refusal = f"its {goal.objective} is not known"
    name = names.get(nearest.key, "a mixed plan")
    return f"no plan keeps all limits; nearest is {name}: {refusal}"
