"""What a search says at its end: a plan, and the document of ``--json``."""

from __future__ import annotations

from typing import Any

from qsdnn.plan import Accuracy, Baseline, Choice, Model, Plan
from qsdnn.search.loop import Found

SCHEMA = "qsdnn.search/1"


def plan_of(found: Found) -> Plan:
    """The plan of the winner."""
    trial, info = found.final.trial, found.measurer.info
    record = trial.record
    chosen = [found.cost.space.primitives[p] for p in trial.choice]
    kernels = {index: applied.kernel for index, applied in record.applied.items()}
    return Plan(
        model=Model(
            path=str(found.config.model), sha256=found.graph.sha256, shapes=found.config.shapes
        ),
        board={"name": info.name, "fingerprint": info.fingerprint},
        engines={p.engine: info.engines[p.engine].version for p in sorted(set(chosen))},
        threads=found.config.threads,
        layers=tuple(
            Choice(name=name, primitive=str(primitive), kernel=kernels.get(index, ""))
            for index, (name, primitive) in enumerate(
                zip(found.cost.space.layers, chosen, strict=True)
            )
        ),
        predicted_ms=found.cost.predict(trial.choice),
        measured_ms=record.latency_ms,
        ci95_ms=record.ci95_ms,
        trust=record.trust.value,
        baselines=_baselines(found),
        accuracy=Accuracy(
            metric="max_relative_error", reference=0.0, plan=record.max_error, drop=record.max_error
        ),
        seed=found.config.seed,
        command=found.config.command,
    )


def document(found: Found, plan_path: str) -> dict[str, Any]:
    """The JSON document of a search, schema ``qsdnn.search/1``.

    Args:
        found: What was found.
        plan_path: Where the plan was written.
    """
    plan, learning, counts = plan_of(found), found.learning, found.measurer.counts
    name, uniform = found.final.uniform
    errors = learning.errors
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
        "gap_to_optimum": learning.gap,
        "optimum_proven": learning.proven,
        "cost_model": {
            "held_out_plans": len(errors),
            "error_mean": sum(errors) / len(errors) if errors else None,
            "error_max": max(errors, default=None),
        },
        "agent": {
            "name": found.config.agent,
            "preset": found.config.preset,
            "episodes": learning.episodes,
            "rounds": learning.rounds,
            "seconds": learning.seconds,
            "steps_per_second": learning.steps / learning.seconds if learning.seconds else None,
            "seed": found.config.seed,
        },
        "measurements": {
            "taken": counts.taken,
            "cached": counts.cached,
            "failed": counts.failed,
            "board_seconds": counts.board_seconds,
        },
        "accuracy": {
            "metric": plan.accuracy.metric,
            "reference": plan.accuracy.reference,
            "plan": plan.accuracy.plan,
            "drop": plan.accuracy.drop,
        },
        "verified": plan.accuracy.plan is not None and plan.accuracy.plan <= found.config.tolerance,
        "trust": plan.trust,
        "wall_s": found.wall_s,
    }


def _baselines(found: Found) -> tuple[Baseline, ...]:
    return tuple(
        Baseline(
            name=name,
            measured_ms=trial.record.latency_ms if trial.record.runs_ms else None,
            feasible=trial.ok,
        )
        for name, trial in found.profile.trials.items()
    )
