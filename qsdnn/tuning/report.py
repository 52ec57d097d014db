"""The report of a search at its end: the document of ``--json``."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from math import ceil
from typing import Any

from qsdnn.measure.trust import doubt
from qsdnn.plan import Plan
from qsdnn.plan.build import REFERENCE
from qsdnn.tuning.bench import GROUP
from qsdnn.tuning.budget import TIME_IS_OVER
from qsdnn.tuning.finish.entrants import bare_name
from qsdnn.tuning.finish.final import Final, Standing
from qsdnn.tuning.finish.sittings import Kind
from qsdnn.tuning.search import Found

SCHEMA = "qsdnn.search/1"

ONNXRUNTIME = (Kind.BARE, bare_name(REFERENCE))
"""The entrant that a user compares with first."""

OUTRUN, SESSION_MS = 0.05, 0.05
"""The share of the plan's time, and the time in ms, by which an engine as it comes is clearly
faster: a session of the runtime costs less than that."""

MORE_PLANS = 20
"""The number of mixed plans that a larger budget is said to try."""


def document(found: Found, plan_path: str) -> dict[str, Any]:
    """The JSON document of a search, schema ``qsdnn.search/1``.

    Args:
        found: The findings of the search.
        plan_path: The path that the plan was written to.
    """
    plan, learning, counts = found.plan, found.learning, found.measurer.counts
    final, (name, uniform) = found.final, found.final.uniform
    speedup = final.ratio.inverse
    held_out = learning.held_out
    return {
        "schema": SCHEMA,
        "model": {
            "path": plan.model.path,
            "sha256": plan.model.sha256,
            "layers": len(plan.layers),
        },
        "board": dict(plan.board),
        "plan": plan_path,
        "predicted_ms": plan.predicted_ms,
        "measured_ms": plan.measured_ms,
        "ci95_ms": list(plan.ci95_ms),
        "mixed": final.mixed,
        "primitives": dict(Counter(layer.primitive for layer in plan.layers)),
        "final": [_standing(standing, final) for standing in final.standings],
        "baselines": [
            {"name": b.name, "measured_ms": b.measured_ms, "feasible": b.feasible}
            for b in plan.baselines
        ],
        "best_uniform": {"name": name, "measured_ms": uniform.record.latency_ms},
        "speedup_vs_best_uniform": speedup.value,
        "speedup_ci95": [speedup.low, speedup.high],
        "best_single": _over(final.best_single),
        "onnxruntime": _over(
            next((s for s in final.standings if (s.kind, s.name) == ONNXRUNTIME), None)
        ),
        "peak_memory_mb": plan.peak_memory_mb,
        "objective": _objective(found),
        "gap_to_optimum": learning.gap,
        "optimum_proven": learning.proven,
        "optimum_bound_ms": learning.bound_ms,
        "outlook": asdict(learning.outlook) if learning.outlook else None,
        "cost_model": {
            "held_out_plans": len(held_out.errors),
            "error_mean": held_out.mean,
            "error_max": held_out.largest,
            "coverage95": held_out.coverage,
            "prior_networks": found.prior_networks,
        },
        "agent": {
            "name": found.config.agent,
            "preset": found.config.preset,
            "episodes": learning.episodes,
            "rounds": learning.rounds,
            "ended": learning.ended,
            "seconds": learning.seconds,
            "steps_per_second": learning.steps / learning.seconds if learning.seconds else None,
            "seed": found.config.seed,
        },
        "measurements": {
            "taken": counts.taken,
            "cached": counts.cached,
            "failed": counts.failed,
            "board_seconds": counts.board_seconds,
            "mixed_plans": found.mixed_plans,
            "spared": list(found.spared),
        },
        "accuracy": {
            "metric": plan.accuracy.metric,
            "reference": plan.accuracy.reference,
            "plan": plan.accuracy.plan,
            "drop": plan.accuracy.drop,
            **_of_samples(plan),
        },
        "verified": _verified(found, plan),
        "trust": plan.trust,
        "doubt": _doubt(found),
        "advice": _advice(found),
        "wall_s": found.wall_s,
        "spent_s": dict(found.spent_s),
        "reached_s": dict(found.reached_s),
    }


def _objective(found: Found) -> dict[str, Any]:
    """The objective, and what the plan and the best uniform plan take of it."""
    goal, costs = found.config.goal, found.final.costs
    content: dict[str, Any] = {
        "name": goal.objective.value,
        "limits": {objective.value: most for objective, most in goal.limits.items()},
    }
    if costs is not None:
        content |= {"plan": asdict(costs[0]), "uniform": asdict(costs[1])}
    return content


def _of_samples(plan: Plan) -> dict[str, Any]:
    """The part of the document that is only there where accuracy may be lost."""
    accuracy = plan.accuracy
    if accuracy.samples is None:
        return {}
    return {
        "sqnr_db": accuracy.sqnr_db,
        "samples": accuracy.samples,
        "budget": accuracy.budget,
    }


def _verified(found: Found, plan: Plan) -> bool:
    """Whether the outputs are as they must be: the final has refused what exceeds a limit."""
    if plan.accuracy.samples is not None:
        return True
    error = plan.accuracy.plan
    return error is not None and error <= found.config.tolerance


def _standing(standing: Standing, final: Final) -> dict[str, Any]:
    """The row of an entrant in the final's table."""
    record, ratio = standing.record, standing.ratio
    return {
        "name": standing.name,
        "kind": standing.kind.value,
        "winner": standing.name == final.name,
        "measured_ms": record.latency_ms,
        "ci95_ms": list(record.ci95_ms),
        "ratio": ratio.value,
        "ratio_ci95": [ratio.low, ratio.high] if ratio.is_interval else None,
        "sittings": ratio.sittings,
        "trust": record.trust.value,
    }


def _over(standing: Standing | None) -> dict[str, Any] | None:
    """The speed-up of the plan over an entrant of the final; None without the entrant."""
    if standing is None:
        return None
    ratio = standing.ratio
    return {
        "name": standing.name,
        "kind": standing.kind.value,
        "measured_ms": standing.record.latency_ms,
        "speedup": ratio.value,
        "speedup_range": [ratio.low, ratio.high],
        "is_ci95": ratio.is_interval,
        "sittings": ratio.sittings,
    }


def _doubt(found: Found) -> str:
    """The reason not to believe the claim: because of the plan, or of its rival; empty for none."""
    name, uniform = found.final.uniform
    of_rival = doubt(uniform.record)
    return (
        doubt(found.final.trial.record)
        or (of_rival and f"{name} was {of_rival}")
        or _outrun(found.final.best_single, found.final.trial.record.latency_ms)
    )


def _outrun(single: Standing | None, plan_ms: float) -> str:
    """What to do where an engine as it comes is clearly faster than the plan; empty where none."""
    if single is None or single.kind is not Kind.BARE:
        return ""
    saved_ms = plan_ms * (1 - single.ratio.value)
    if single.ratio.value > 1 - OUTRUN or saved_ms < SESSION_MS:
        return ""
    return (
        f"{single.name} takes {single.ratio.value:.2f} times as long as the plan: the budget did "
        "not reach the algorithms that it uses; repeat the command with a larger --budget"
    )


def _advice(found: Found) -> str:
    """The reason why no mixed plan was measured, and what it takes; empty where some were."""
    if found.mixed_plans or not found.learning.ended:
        return ""
    if found.learning.ended == TIME_IS_OVER:
        more_s = MORE_PLANS / GROUP * found.group_s
        minutes = max(1, ceil((max(found.wall_s, found.config.budget_s) + more_s) / 60))
        return (
            f"no mixed plan was measured: the budget ended; --budget {minutes}m would try about "
            f"{MORE_PLANS}"
        )
    return f"no mixed plan was measured: {found.learning.ended}"
