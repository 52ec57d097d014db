"""The command ``qsdnn run``: runs a plan or a package on inputs from a file."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qsdnn.cli.options import board_option, json_option, model_option, wait_option
from qsdnn.files import open_output

if TYPE_CHECKING:
    import numpy as np

EPILOG = """\b
Examples:
  qsdnn run plan.json --input images.npz -o scores.npz
  qsdnn run package.zip --board local --json
"""


@click.command(epilog=EPILOG, short_help="Run a plan or a package on inputs from a file.")
@click.argument("subject", metavar="PLAN|PACKAGE", type=click.Path(path_type=Path))
@model_option
@board_option
@wait_option
@click.option("--input", "inputs", type=click.Path(path_type=Path), metavar="FILE.npz",
              help="A file of one array for each input; FILE.npy for a single input.  [default: "
              "random ones]")  # fmt: skip
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0),
              help="The seed of the random inputs.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.npz",
              help="The file to write the outputs to.  [default: none]")  # fmt: skip
@json_option
def command(
    subject: Path,
    model: Path | None,
    board: str,
    wait_s: float,
    inputs: Path | None,
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run a plan or a package once on a board, and write its outputs."""
    import numpy as np

    from qsdnn.board import Care, open_board
    from qsdnn.measure.recovery import run_once
    from qsdnn.model.feeds import random_feeds, read_feeds
    from qsdnn.plan.subject import open_subject

    with (
        open_board(board, Care(wait_s=wait_s)) as machine,
        tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch,
    ):
        opened = open_subject(subject, model, machine.probe(), Path(scratch))
        feeds = read_feeds(inputs, opened.tensors) if inputs else random_feeds(opened.tensors, seed)
        outputs = run_once(
            machine,
            opened.package,
            feeds,
            threads=opened.threads,
            on_note=lambda note: click.echo(f"note: {note}", err=True),
            on_progress=lambda text: None,
        )
    if output is not None:
        with open_output(output) as file:
            np.savez(file, **outputs)
    rows = [_describe(name, np.asarray(value)) for name, value in outputs.items()]
    if as_json:
        content = {
            "schema": "qsdnn.run/1",
            "outputs": rows,
            "file": str(output) if output else None,
        }
        click.echo(json.dumps(content))
    else:
        for row in rows:
            click.echo(f"{row['name']}: {row['dtype']}{row['shape']} {row['summary']}")
        if output is not None:
            click.echo(f"outputs: {output}")


def _describe(name: str, value: np.ndarray[Any, Any]) -> dict[str, Any]:
    """The dtype, shape and range of an output, for people."""
    row: dict[str, Any] = {"name": name, "dtype": str(value.dtype), "shape": list(value.shape)}
    if value.size and value.dtype.kind in "fiu":
        summary = f"from {value.min():.6g} to {value.max():.6g}, largest at {int(value.argmax())}"
        return {**row, "summary": summary}
    return {**row, "summary": ""}
