"""``qsdnn quantize``."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qsdnn.cli.options import (
    board_option,
    care_options,
    json_option,
    samples_options,
    shape_option,
    split_names,
    store_option,
    threads_option,
)
from qsdnn.errors import InputError

if TYPE_CHECKING:
    from qsdnn.accuracy.config import AccuracyConfig
    from qsdnn.board import Care
    from qsdnn.search.analysis import Analysis

EPILOG = """\b
Examples:
  qsdnn quantize model.onnx --analyze --calibration images.npz
  qsdnn quantize model.onnx --analyze --calibration images/ --labels labels.npy -o layers.csv
  qsdnn search model.onnx --calibration images.npz --max-drop 1%     (then: the fastest plan)
"""


@click.command(epilog=EPILOG, short_help="Tell which layers lose accuracy in less than fp32.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--analyze", is_flag=True, required=True,
              help="Evaluate each layer alone, then groups of layers.")  # fmt: skip
@samples_options
@board_option
@care_options
@click.option("--engines", default=None, callback=split_names, metavar="A,B",
              help="Engines to ask.  [default: all that the board has]")  # fmt: skip
@threads_option
@shape_option
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of all chance.")
@store_option
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.csv",
              help="Also write the table.")  # fmt: skip
@json_option
def command(
    analyze: bool,
    board: str,
    care: Care,
    store: str | None,
    output: Path | None,
    as_json: bool,
    accuracy: AccuracyConfig | None,
    **asked: Any,
) -> None:
    """Tell what each layer of MODEL loses and saves in less than fp32, on a board.

    Each layer alone in each precision that the board's engines really execute, the others in fp32:
    the signal-to-quantization-noise ratio (SQNR) of the outputs, and the time that the layer saves.
    Then the best tenth of the layers together, the best quarter, and so on. Everything is stored:
    interrupted, the same command goes on from there.
    """
    if accuracy is None:
        raise InputError(
            "what a layer loses is seen on data only",
            hint="give typical inputs: --calibration DIR or --calibration FILE.npz",
        )
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from qsdnn.board import open_board
    from qsdnn.cli.progress import Terminal
    from qsdnn.primitive import Precision
    from qsdnn.search.analysis import analyze as analyzed
    from qsdnn.search.config import SearchConfig
    from qsdnn.store import Store

    config = SearchConfig(
        **asked,
        accuracy=accuracy,
        precisions=tuple(Precision),
        command=shlex.join(["qsdnn", *sys.argv[1:]]),
    )
    with ExitStack() as stack:
        machine = open_board(board, care)
        opened = stack.enter_context(Store(store))
        listener = stack.enter_context(Terminal(quiet=as_json))
        found = analyzed(config, stack.enter_context(machine), opened, listener)
    if output is not None:
        _write(found, output)
    if as_json:
        click.echo(json.dumps({"schema": "qsdnn.quantize/1", **dataclasses.asdict(found)}))
    else:
        _print(found)


def _write(found: Analysis, output: Path) -> None:
    rows = [dataclasses.asdict(row) for row in found.layers]
    try:
        with output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise InputError(
            f"cannot write {output}: {error.strerror}", hint="choose another -o"
        ) from error


def _print(found: Analysis) -> None:
    from rich.table import Table

    from qsdnn.cli.console import stdout_console

    layers = Table(title="each layer alone, the others in fp32")
    for title in ("layer", "kind", "primitive", "SQNR dB", "saves ms"):
        layers.add_column(title, justify="left" if title[0] in "lkp" else "right")
    for row in sorted(found.layers, key=lambda row: row.sqnr_db):
        saved = f"{row.saved_ms:.3f}"
        layers.add_row(row.layer, row.kind, row.primitive, f"{row.sqnr_db:.1f}", saved)
    groups = Table(title="layers together, those first that save most for their noise")
    for title in ("engine", "precision", "layers", "SQNR dB", "by their sum", "metric", "drop"):
        groups.add_column(title, justify="left" if title in ("engine", "precision") else "right")
    for group in found.groups:
        accuracy = group.accuracy
        groups.add_row(
            group.engine,
            group.precision,
            str(group.layers),
            f"{accuracy.sqnr_db:.1f}",
            f"{group.predicted_db:.1f}",
            f"{accuracy.metric} {accuracy.plan:.4g}",
            f"{accuracy.drop:.4g}",
        )
    console = stdout_console()
    console.print(layers)
    console.print(groups)
