"""``qsdnn bench``."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qsdnn.cli.console import Column, print_table, stdout_console
from qsdnn.cli.options import (board_option, care_options, json_option, model_option, parse_duration, shape_option)
from qsdnn.errors import BoardLostError, InputError, QsdnnError

if TYPE_CHECKING:
    from qsdnn.board import Care, Record
    from qsdnn.plan.subject import Subject

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
  qsdnn bench a.json b.json --json
"""


@click.command(epilog=EPILOG, short_help="Compare plans, packages and models, interleaved.")
@click.argument("subjects", metavar="PLAN|PACKAGE|MODEL[@ENGINE]…", nargs=-1, required=True,
                type=click.Path(path_type=Path))  # fmt: skip
@model_option
@board_option
@care_options
@click.option("--threads", default=None, type=click.IntRange(1),
              help="Threads an engine may use.  [default: what the first plan or package is for; "
              "else 1]")  # fmt: skip
@shape_option
@click.option("--budget", "budget_s", default="10s", show_default=True, metavar="TIME",
              callback=lambda _context, _option, text: parse_duration("--budget", text),
              help="Measuring time.")  # fmt: skip
@click.option("--min-runs", default=20, show_default=True, type=click.IntRange(3),
              help="Runs of each at the least.")  # fmt: skip
@json_option
def command(subjects: tuple[Path, ...], as_json: bool, **asked: Any) -> None:
    """Measure any number of plans, packages and models side by side, interleaved run by run.

    A model runs bare in one engine, as that comes, through its own fastest loop, without the
    session of the runtime around it. Ratios are to the first subject, from neighbouring runs, with
    their 95 % interval; the runs are divided among processes, for in one alone equal plans may
    differ.
    """
    rows = _bench(subjects, **asked)
    if as_json:
        click.echo(json.dumps({"schema": "qsdnn.bench/1", "subjects": rows}))
        return
    print_table("", COLUMNS, [_cells(row) for row in rows])
    for doubt, names in _doubts(rows).items():
        were = "was" if len(names) == 1 else "were"
        console = stdout_console()
        console.print(f"[yellow]{', '.join(names)} {were} {doubt}[/]", highlight=False)


def _doubts(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Whose latency is not to be believed, by the reason."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["doubt"]:
            found.setdefault(row["doubt"], []).append(row["name"])
    return found


def _bench(
    paths: tuple[Path, ...],
    *,
    model: Path | None,
    board: str,
    care: Care,
    threads: int | None,
    shapes: dict[str, tuple[int, ...]],
    budget_s: float,
    min_runs: int,
) -> list[dict[str, Any]]:
    from qsdnn.board import (SITTINGS, MeasureOptions, Reference, check_threads, open_board)
    from qsdnn.cli.progress import Terminal
    from qsdnn.model.feeds import random_feeds
    from qsdnn.plan.subject import open_subject
    from qsdnn.measure.recovery import measure_together
    from qsdnn.measure.trust import notes

    with (
        Terminal() as terminal,
        open_board(board, care) as machine,
        tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch,
    ):
        terminal.phase("Building", len(paths))
        opened = []
        info = machine.probe()
        check_threads(info, threads or 1)
        for path in paths:
            folder = Path(tempfile.mkdtemp(dir=scratch))
            opened.append(
                open_subject(path, model, info, folder, shapes=shapes, threads=threads or 1)
            )
            terminal.step()
        _check_comparable(opened)
        threads = threads or _threads(opened)
        check_threads(info, threads)
        terminal.phase("Measuring", 0)
        records = measure_together(
            machine,
            [subject.package for subject in opened],
            Reference(feeds=random_feeds(opened[0].tensors)),
            MeasureOptions(
                threads=threads,
                min_runs=min_runs,
                max_runs=2000,
                precision=0.0,
                budget_s=budget_s,
                again=2,
                sittings=SITTINGS,
            ),
            on_note=terminal.note,
            on_progress=terminal.status,
        )
        for note in notes(records):
            terminal.note(note)
    return [_row(s, r, records[0]) for s, r in zip(opened, records, strict=True)]


def _threads(opened: list[Subject]) -> int:
    """What the first plan or package was made for; a bare model was made for none."""
    return next((s.threads for s in opened if not s.package.manifest.get("bare")), 1)


def _check_comparable(opened: list[Subject]) -> None:
    first = opened[0]
    for other in opened[1:]:
        if dict(other.tensors) != dict(first.tensors):
            raise InputError(f"{other.name} takes other inputs than {first.name}")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        f"{row['measured_ms']:.3f}",
        "{:.3f}–{:.3f}".format(*row["ci95_ms"]),
        f"{row['p90_ms']:.3f}",
        f"{row['p99_ms']:.3f}",
        f"{row['per_s']:.1f}",
        f"{row['ratio']:.3f}",
        "{:.3f}–{:.3f}".format(*row["ratio_ci95"]),
        str(row["runs"]),
        row["trust"],
    )


def _row(subject: Subject, record: Record, first: Record) -> dict[str, Any]:
    import numpy as np

    from qsdnn.board import State
    from qsdnn.measure.measurer import paired_ratio
    from qsdnn.measure.trust import doubt

    if record.state is State.BOARD_LOST:
        raise BoardLostError(f"the board was lost: {record.error}")
    if record.state is State.UNSUPPORTED:
        raise InputError(f"{subject.name} cannot be run: {record.error}", hint="leave it out")
    if record.state is not State.OK:
        raise QsdnnError(f"{subject.name} ended as {record.state}: {record.error}")
    ratio, low, high = paired_ratio(record, first)
    p90_ms, p99_ms = np.percentile(record.runs_ms, (90, 99)).tolist()
    return {
        "name": subject.name,
        "measured_ms": record.latency_ms,
        "ci95_ms": list(record.ci95_ms),
        "p90_ms": p90_ms,
        "p99_ms": p99_ms,
        "per_s": 1e3 / record.latency_ms,
        "ratio": ratio,
        "ratio_ci95": [low, high],
        "runs": len(record.runs_ms),
        "trust": record.trust.value,
        "doubt": doubt(record),
    }
