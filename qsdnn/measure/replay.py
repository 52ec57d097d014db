"""Replay: a plan is built again, verified on other inputs, and measured."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from qsdnn.board import ANY, Board, MeasureOptions, Record, Reference, State
from qsdnn.errors import BoardError, VerificationError
from qsdnn.listener import Listener
from qsdnn.measure.recovery import measure_together, run_once
from qsdnn.measure.trust import doubt, notes
from qsdnn.model.feeds import random_feeds
from qsdnn.plan import Plan
from qsdnn.plan.subject import rebuild


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """The way that one layer ran.

    Attributes:
        layer: The layer's name.
        asked: The primitive that the plan chose.
        primitive: The primitive that the engine says it ran.
        kernel: The engine's own name of what it ran.
    """

    layer: str
    asked: str
    primitive: str
    kernel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The result of a replay: the plan's outputs are right.

    Attributes:
        path: The plan's file.
        plan: The plan.
        measured_ms: The median latency, measured now.
        ci95_ms: The 95 % interval of the median.
        segments: The number of segments that the plan was built as.
        max_error: The largest error of an output, relative to its largest magnitude.
        applied: The layers whose engine tells what ran, with what ran.
        trust: The trust in the latency: how far it may be believed.
        doubt: The reason why the latency may not be believed, and what to do; empty when it is
            stable.
        note: The differences of the board from the one that the plan was found on; empty when there
            are none.
    """

    path: Path
    plan: Plan = field(repr=False)
    measured_ms: float
    ci95_ms: tuple[float, float]
    segments: int
    max_error: float | None
    applied: tuple[Ran, ...] = field(repr=False)
    trust: str
    doubt: str
    note: str


def replay_on(
    board: Board,
    path: Path,
    *,
    listener: Listener,
    model: Path | None = None,
    seed: int = 1,
    tolerance: float = 1e-4,
) -> Replayed:
    """Builds a plan again, verifies its outputs against onnxruntime fp32, and measures it.

    Args:
        board: The board, already started.
        path: The plan's file.
        listener: The listener that is told of progress.
        model: The plan's network; None takes the file that the plan names.
        seed: The seed of the random inputs, another than that of the search.
        tolerance: The largest error of an output, relative to its largest magnitude.

    Raises:
        PlanError: The file is no plan, or does not fit the model or the board.
        VerificationError: The outputs differ; or a layer of a plan that may lose accuracy does not
            run as the plan says.
        BoardError: The plan did not run, or the board was lost and does not come back.
    """
    with tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch:
        listener.phase("Building", 0)
        built = rebuild(path, model, board.probe(), Path(scratch))
        if built.note:
            listener.note(built.note)
        feeds = random_feeds(built.inputs, seed)
        outputs = run_once(
            board, built.reference, feeds, on_note=listener.note, on_progress=listener.status
        )
        plan = built.plan
        listener.phase("Measuring", 0)
        (record,) = measure_together(
            board,
            [built.package],
            Reference(feeds=feeds, outputs=outputs, tolerance=tolerance if plan.is_exact else ANY),
            MeasureOptions(
                threads=plan.threads, min_runs=10, precision=0.005, profile=True, again=2
            ),
            on_note=listener.note,
            on_progress=listener.status,
        )
        for note in notes([record]):
            listener.note(note)
    _check(path, plan, record)
    return Replayed(
        path=path,
        plan=plan,
        measured_ms=record.latency_ms,
        ci95_ms=record.ci95_ms,
        segments=len(built.package.manifest["segments"]),
        max_error=record.max_error,
        applied=_ran(plan, record),
        trust=record.trust.value,
        doubt=doubt(record),
        note=built.note,
    )


def document(replayed: Replayed) -> dict[str, object]:
    """The JSON document of a replay, schema ``qsdnn.replay/1``."""
    return {
        "schema": "qsdnn.replay/1",
        "plan": str(replayed.path),
        "measured_ms": replayed.measured_ms,
        "ci95_ms": list(replayed.ci95_ms),
        "planned_ms": replayed.plan.measured_ms,
        "segments": replayed.segments,
        "max_error": replayed.max_error,
        "verified": True,
        "accuracy": asdict(replayed.plan.accuracy),
        "applied": [asdict(ran) for ran in replayed.applied],
        "trust": replayed.trust,
        "doubt": replayed.doubt,
        "note": replayed.note,
    }


def _check(path: Path, plan: Plan, record: Record) -> None:
    if record.state is State.WRONG_OUTPUT:
        raise VerificationError(f"{path}: {record.error}", hint="search again: qsdnn search MODEL")
    if record.state is not State.OK:
        raise BoardError(f"{path}: the plan ended as {record.state}: {record.error}")
    others = [ran for ran in _ran(plan, record) if ran.primitive != ran.asked]
    if not plan.is_exact and others:  # nothing else holds what its accuracy was found with
        raise VerificationError(
            f"{path}: layer '{others[0].layer}' ran as {others[0].primitive}, not as "
            f"{others[0].asked}",
            hint="search again: qsdnn search MODEL",
        )


def _ran(plan: Plan, record: Record) -> tuple[Ran, ...]:
    return tuple(
        Ran(
            layer=plan.layers[index].name,
            asked=plan.layers[index].primitive,
            primitive=applied.primitive,
            kernel=applied.kernel,
        )
        for index, applied in sorted(record.applied.items())
    )
