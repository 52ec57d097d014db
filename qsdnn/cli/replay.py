"""``qsdnn replay``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qsdnn.cli.console import count
from qsdnn.cli.options import board_option, care_options, json_option, model_option
from qsdnn.errors import BoardError, VerificationError

if TYPE_CHECKING:
    from qsdnn.board import Care

EPILOG = """\b
Examples:
  qsdnn replay plan.json
  qsdnn replay plan.json --model /data/resnet50.onnx --json
"""


@click.command(epilog=EPILOG, short_help="Rebuild a plan, verify and measure it.")
@click.argument("plan", type=click.Path(path_type=Path))
@model_option
@board_option
@care_options
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0),
              help="Of the random inputs: other ones than the search had.")  # fmt: skip
@click.option("--tolerance", default=1e-4, show_default=True, type=click.FloatRange(0, 1),
              help="Largest error of an output, relative to its largest magnitude.")  # fmt: skip
@json_option
def command(
    plan: Path,
    model: Path | None,
    board: str,
    care: Care,
    seed: int,
    tolerance: float,
    as_json: bool,
) -> None:
    """Rebuild PLAN, verify its outputs against onnxruntime fp32, and measure it again.

    Needs the plan and its model, nothing else. Ends with 5 when the outputs differ; or, for a plan
    that may lose accuracy, when a layer does not run as the plan says.
    """
    content = _replay(plan, model, board, care, seed, tolerance)
    if as_json:
        click.echo(json.dumps(content))
    else:
        low, high = content["ci95_ms"]
        accuracy = content["accuracy"]
        click.echo(
            f"{content['measured_ms']:.3f} ms ({low:.3f} to {high:.3f}); the plan says "
            f"{content['planned_ms']:.3f} ms\n{count(content['segments'], 'segment')}; largest "
            f"relative error {content['max_error']:.1e}; trust: {content['trust']}"
        )
        if accuracy["samples"]:
            click.echo(
                f"it may lose accuracy: {accuracy['metric']} {accuracy['plan']:.4g} where fp32 has "
                f"{accuracy['reference']:.4g}, on {accuracy['samples']} samples, when it was found"
            )
        if content["doubt"]:
            click.secho(content["doubt"], fg="yellow")


def _replay(
    path: Path, model: Path | None, board: str, care: Care, seed: int, tolerance: float
) -> dict[str, Any]:
    import tempfile

    from qsdnn.board import ANY, MeasureOptions, Reference, State, open_board
    from qsdnn.cli.progress import Terminal
    from qsdnn.model.feeds import random_feeds
    from qsdnn.plan.replay import rebuild
    from qsdnn.measure.recovery import measure_together, run_once
    from qsdnn.measure.trust import doubt, notes

    with (
        Terminal() as terminal,
        open_board(board, care) as machine,
        tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch,
    ):
        terminal.phase("Building", 0)
        replay = rebuild(path, model, machine.probe(), Path(scratch))
        if replay.note:
            terminal.note(replay.note)
        feeds = random_feeds(replay.inputs, seed)
        outputs = run_once(
            machine, replay.reference, feeds, on_note=terminal.note, on_progress=terminal.status
        )
        plan = replay.plan
        terminal.phase("Measuring", 0)
        (record,) = measure_together(
            machine,
            [replay.package],
            Reference(feeds=feeds, outputs=outputs, tolerance=tolerance if plan.is_exact else ANY),
            MeasureOptions(
                threads=plan.threads, min_runs=10, precision=0.005, profile=True, again=2
            ),
            on_note=terminal.note,
            on_progress=terminal.status,
        )
        for note in notes([record]):
            terminal.note(note)
    if record.state is State.WRONG_OUTPUT:
        raise VerificationError(f"{path}: {record.error}", hint="search again: qsdnn search MODEL")
    if record.state is not State.OK:
        raise BoardError(f"{path}: the plan ended as {record.state}: {record.error}")
    asked = [choice.primitive for choice in plan.layers]
    others = [i for i, a in sorted(record.applied.items()) if a.primitive != asked[i]]
    if not plan.is_exact and others:  # nothing else holds what its accuracy was found with
        name, ran = plan.layers[others[0]].name, record.applied[others[0]].primitive
        raise VerificationError(
            f"{path}: layer '{name}' ran as {ran}, not as {asked[others[0]]}",
            hint="search again: qsdnn search MODEL",
        )
    return {
        "schema": "qsdnn.replay/1",
        "plan": str(path),
        "measured_ms": record.latency_ms,
        "ci95_ms": list(record.ci95_ms),
        "planned_ms": plan.measured_ms,
        "segments": len(replay.package.manifest["segments"]),
        "max_error": record.max_error,
        "verified": True,
        "accuracy": dataclasses.asdict(plan.accuracy),
        "applied": [
            {
                "layer": plan.layers[i].name,
                "asked": asked[i],
                "primitive": a.primitive,
                "kernel": a.kernel,
            }
            for i, a in sorted(record.applied.items())
        ],
        "trust": record.trust.value,
        "doubt": doubt(record),
        "note": replay.note,
    }
