"""What a search says at its end: the document of ``--json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from qsdnn.plan import Plan
from qsdnn.search.loop import Found
from qsdnn.trust import doubt

SCHEMA = "qsdnn.search/1"


def document(found: Found, plan_path: str) -> dict[str, Any]:
    """The JSON document of a search, schema ``qsdnn.search/1``.

    Args:
        found: What was found.
        plan_path: Where the plan was written.
    """
    plan, learning, counts = found.plan, found.learning, found.measurer.counts
    name, uniform = found.final.uniform
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
        "baselines": [
            {"name": b.name, "measured_ms": b.measured_ms, "feasible": b.feasible}
            for b in plan.baselines
        ],
        "best_uniform": {"name": name, "measured_ms": uniform.record.latency_ms},
        "speedup_vs_best_uniform": 1 / found.final.ratio,
        "speedup_ci95": [1 / bound for bound in reversed(found.final.ratio_ci95)],
        "peak_memory_mb": plan.peak_memory_mb,
        "objective": _objective(found),
        "gap_to_optimum": learning.gap,
        "optimum_proven": learning.proven,
        "optimum_bound_ms": learning.bound_ms,
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
        "wall_s": found.wall_s,
    }


def _objective(found: Found) -> dict[str, Any]:
    """What was to be least, and what the plan and the best uniform plan for it take."""
    goal, costs = found.config.goal, found.final.costs
    content: dict[str, Any] = {
        "name": goal.objective.value,
        "limits": {objective.value: most for objective, most in goal.limits.items()},
    }
    if costs is not None:
        content |= {"plan": asdict(costs[0]), "uniform": asdict(costs[1])}
    return content


def _of_samples(plan: Plan) -> dict[str, Any]:
    """What is said where accuracy may be lost."""
    accuracy = plan.accuracy
    if accuracy.samples is None:
        return {}
    return {
        "sqnr_db": accuracy.sqnr_db,
        "samples": accuracy.samples,
        "budget": accuracy.budget,
    }


def _verified(found: Found, plan: Plan) -> bool:
    """Whether the outputs are as they have to be: the final has refused what exceeds a budget."""
    if plan.accuracy.samples is not None:
        return True
    error = plan.accuracy.plan
    return error is not None and error <= found.config.tolerance


def _doubt(found: Found) -> str:
    """Why the claim is not to be believed: because of the plan, or of what it was held against."""
    name, uniform = found.final.uniform
    of_rival = doubt(uniform.record)
    return doubt(found.final.trial.record) or (of_rival and f"{name} was {of_rival}")
