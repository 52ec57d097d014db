"""The command ``qsdnn replay``: rebuilds a plan, verifies its outputs and measures it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qsdnn.cli.console import count
from qsdnn.cli.options import board_option, care_options, cold_option, json_option, model_option

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
@cold_option
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0),
              help="The seed of the random inputs, by default not the search's.")  # fmt: skip
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
    from qsdnn.board import open_board
    from qsdnn.cli.progress import Terminal
    from qsdnn.measure.replay import document, replay_on

    with Terminal() as terminal, open_board(board, care) as machine:
        found = replay_on(
            machine, plan, listener=terminal, model=model, seed=seed, tolerance=tolerance
        )
    if as_json:
        click.echo(json.dumps(document(found)))
        return
    low, high = found.ci95_ms
    accuracy = found.plan.accuracy
    click.echo(
        f"{found.measured_ms:.3f} ms ({low:.3f} to {high:.3f}); the plan says "
        f"{found.plan.measured_ms:.3f} ms\n{count(found.segments, 'segment')}; largest "
        f"relative error {found.max_error:.1e}; trust: {found.trust}"
    )
    if accuracy.samples:
        click.echo(
            f"it may lose accuracy: {accuracy.metric} {accuracy.plan:.4g} where fp32 has "
            f"{accuracy.reference:.4g}, on {accuracy.samples} samples, when it was found"
        )
    if found.doubt:
        click.secho(found.doubt, fg="yellow")
