"""The end of a search that asks for more than least latency: which plan meets the goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qsdnn.board import MeasureOptions
from qsdnn.cost.model import CostModel
from qsdnn.errors import InfeasibleError, InputError, VerificationError
from qsdnn.graph.layer import Graph
from qsdnn.search.constraint import Constraint
from qsdnn.search.final import Final, complaint, keeping, measure_final
from qsdnn.search.frugal import frugal_plans
from qsdnn.search.measurer import paired_ratio
from qsdnn.search.objective import Cost, Goal, Objective, energy_mj, senses_power
from qsdnn.search.profile import Profile
from qsdnn.search.trial import Bench, Trial

ENERGIES = 8
"""Plans whose energy is measured, the fastest, besides the fastest uniform plan of each engine."""

ENERGY_S = 5.0
"""For so long each: the board's sensors are read each second."""

TRIES = 5
"""Plans that may fail verification before it is said that none meets the goal."""

HINT = "allow more: a larger --max-latency, --max-energy or --max-memory"


def check_sensors(bench: Bench, goal: Goal) -> None:
    """Looks for a sensor of power before anything else is measured, where one is needed.

    Raises:
        InputError: The board has none that can be read.
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
) -> Final:
    """Measures what the goal asks for, and takes the best plan that keeps all limits.

    Args:
        goal: What is asked for.
        bench: Builds and measures plans.
        profile: Of the uniform plans.
        ranked: All plans measured, fastest first, no two alike.
        constraint: What plans must keep besides.

    Raises:
        InfeasibleError: No plan meets the goal; the nearest is named.
    """
    names = profile.names
    if goal.asks(Objective.ENERGY):
        ranked = _fast(ranked, names)
    costs = dict(zip([t.key for t in ranked], _costs(goal, bench, ranked), strict=True))
    best = [ranked[i] for i in goal.order(list(costs.values()))]
    within = [trial for trial in best if not goal.refusal(costs[trial.key])]
    bench.listener.phase("Verifying", 1)
    uniform = [trial for trial in within if trial.key in names]
    rivals = keeping(bench, constraint, uniform or profile.best, 1)
    for trial in keeping(bench, constraint, within, TRIES):
        final = _final(goal, bench, profile, costs, trial, rivals)
        if final is not None:
            return final
    raise InfeasibleError(_nearest(goal, best or ranked, costs, names), hint=HINT)


def measure_frugal(
    bench: Bench, graph: Graph, cost: CostModel, ranked: Sequence[Trial], constraint: Constraint
) -> list[Trial]:
    """Measures further plans that may take little memory.

    Args:
        bench: Builds and measures plans.
        graph: The network.
        cost: Of the last round.
        ranked: All plans measured, fastest first.
        constraint: What plans must keep.
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


def _costs(goal: Goal, bench: Bench, trials: Sequence[Trial]) -> list[Cost]:
    """What plans take; energy only where it is asked for, each plan measured alone."""
    asked = goal.asks(Objective.ENERGY)
    if asked:
        bench.listener.phase("Measuring energy", len(trials))
    costs = []
    for trial in trials:
        energy = None
        if asked:
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
    """Plans that are measured in turns are told one power, the mean of all."""
    return MeasureOptions(
        threads=bench.config.threads, max_runs=20_000, precision=0.0, budget_s=ENERGY_S, again=0
    )


def _final(
    goal: Goal,
    bench: Bench,
    profile: Profile,
    costs: Mapping[bytes, Cost],
    trial: Trial,
    rivals: Sequence[Trial],
) -> Final | None:
    """A plan measured for good, beside the best uniform one; None where it does not hold."""
    names = profile.names
    beside = [rival for rival in rivals if rival.key != trial.key]
    if not beside and trial.key not in names:
        raise InfeasibleError("no uniform plan keeps the limit on data it was not calibrated with")
    first, *others = measure_final(bench, [trial, *beside])
    taken = _as_measured(first, costs)
    wrong = complaint(first, profile.applied) or goal.refusal(taken)
    if wrong:
        bench.listener.note(f"a plan is rejected: {wrong}")
        return None
    rival = first if trial.key in names else others[0]
    if not rival.ok:
        raise VerificationError(f"{names[rival.key]}: {rival.record.error}")
    ratio, *ci95 = paired_ratio(first.record, rival.record)
    known = rival.key in costs and not goal.refusal(_as_measured(rival, costs))
    if goal.objective is Objective.LATENCY and known and ci95[1] >= 1:
        first, taken, ratio, ci95 = rival, _as_measured(rival, costs), 1.0, [1.0, 1.0]
    return Final(
        trial=first,
        uniform=(names[rival.key], rival),
        ratio=ratio,
        ratio_ci95=(ci95[0], ci95[1]),
        mixed=first.key not in names,
        costs=(taken, _as_measured(rival, costs)),
    )


def _as_measured(trial: Trial, costs: Mapping[bytes, Cost]) -> Cost:
    """What a plan took in the final; its energy was measured before."""
    before = costs.get(trial.key)
    return Cost(
        latency_ms=trial.record.latency_ms if trial.ok else float("inf"),
        memory_mb=trial.record.peak_memory_mb,
        energy_mj=None if before is None else before.energy_mj,
    )


def _nearest(
    goal: Goal, trials: Sequence[Trial], costs: Mapping[bytes, Cost], names: Mapping[bytes, str]
) -> str:
    """Why no plan meets the goal, by the one that misses it least."""
    nearest = min(trials, key=lambda trial: goal.excess(costs[trial.key]))
    refusal = goal.refusal(costs[nearest.key]) or "it does not hold when it is verified"
    if costs[nearest.key].of(goal.objective) is None:
        refusal = f"its {goal.objective} is not known"
    name = names.get(nearest.key, "a mixed plan")
    return f"no plan keeps all limits; nearest is {name}: {refusal}"
