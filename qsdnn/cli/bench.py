"""The command ``qsdnn bench``: measures plans, packages and models side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qsdnn.cli.console import Column, print_table, stdout_console
from qsdnn.cli.options import (
    board_option,
    care_options,
    cold_option,
    json_option,
    model_option,
    parse_duration,
    shape_option,
)

if TYPE_CHECKING:
    from qsdnn.board import Care
    from qsdnn.measure.comparison import Compared

COLUMNS = (
    Column(heading="subject", folds=True),
    Column(heading="median ms", right=True),
    Column(heading="ms 95 %", right=True, spare=3),
    Column(heading="p90 ms", right=True, spare=4),
    Column(heading="p99 ms", right=True, spare=5),
    Column(heading="per second", right=True, spare=7),
    Column(heading="ratio", right=True),
    Column(heading="ratio 95 %", right=True, spare=1),
    Column(heading="runs", right=True, spare=6),
    Column(heading="trust", right=True, spare=2),
)

EPILOG = """\b
Examples:
  qsdnn bench plan.json model.onnx
  qsdnn bench package.zip model.onnx@onnxruntime model.onnx@openvino --threads 2
  qsdnn bench model.onnx@lne/vanilla model.onnx@lne
  qsdnn bench a.json b.json --json
"""


@click.command(epilog=EPILOG, short_help="Compare plans, packages and models, interleaved.")
@click.argument("subjects", metavar="PLAN|PACKAGE|MODEL[@ENGINE]…", nargs=-1, required=True,
                type=click.Path(path_type=Path))  # fmt: skip
@model_option
@board_option
@care_options
@cold_option
@click.option("--threads", default=None, type=click.IntRange(1),
              help="The threads an engine may use.  [default: those of the first plan or package; "
              "else 1]")  # fmt: skip
@shape_option
@click.option("--budget", "budget_s", default="10s", show_default=True, metavar="TIME",
              callback=lambda _context, _option, text: parse_duration("--budget", text),
              help="The time to measure for: 90s, 5m, 1h.")  # fmt: skip
@click.option("--min-runs", default=20, show_default=True, type=click.IntRange(3),
              help="The least number of runs of each subject.")  # fmt: skip
@json_option
def command(
    subjects: tuple[Path, ...], board: str, care: Care, as_json: bool, **asked: Any
) -> None:
    """Measure any number of plans, packages and models side by side, in turns.

    A model runs bare in one engine, as the engine comes, through the engine's own fastest loop,
    without the session of the runtime around it. MODEL@ENGINE/ALGORITHM names an algorithm for all
    layers that can take it. Ratios are to the first subject, from neighbouring runs, with their
    95 % interval; the runs are divided among processes, for in one alone equal plans may differ.
    """
    from qsdnn.board import open_board
    from qsdnn.cli.progress import Terminal
    from qsdnn.measure.comparison import compare_on, document

    with Terminal() as terminal, open_board(board, care) as machine:
        comparison = compare_on(machine, subjects, listener=terminal, **asked)
    if as_json:
        click.echo(json.dumps(document(comparison)))
        return
    print_table("", COLUMNS, [_cells(row) for row in comparison.rows])
    for doubt, names in _doubts(comparison.rows).items():
        were = "was" if len(names) == 1 else "were"
        console = stdout_console()
        console.print(f"[yellow]{', '.join(names)} {were} {doubt}[/]", highlight=False)


def _doubts(rows: Sequence[Compared]) -> dict[str, list[str]]:
    """The names of the subjects whose latency is not to be believed, by the reason."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.doubt:
            found.setdefault(row.doubt, []).append(row.name)
    return found


def _cells(row: Compared) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.measured_ms:.3f}",
        "{:.3f}–{:.3f}".format(*row.ci95_ms),
        f"{row.p90_ms:.3f}",
        f"{row.p99_ms:.3f}",
        f"{row.per_s:.1f}",
        f"{row.ratio:.3f}",
        "{:.3f}–{:.3f}".format(*row.ratio_ci95),
        str(row.runs),
        row.trust,
    )
