"""The command ``qsdnn quantize``: tells which layers lose accuracy in less than fp32."""

from __future__ import annotations

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
from qsdnn.files import check_writable

if TYPE_CHECKING:
    from qsdnn.accuracy.loss import AccuracyConfig
    from qsdnn.board import Care
    from qsdnn.quantize.sensitivity import Analysis
    from qsdnn.quantize.study import Study

WIDTHS, ALLOWED = (8, 6, 4), range(1, 17)
"""The numbers of bits of a value in a study: when nobody says, and those allowed."""

EPILOG = """\b
Examples:
  qsdnn quantize model.onnx --analyze --calibration images.npz
  qsdnn quantize model.onnx --analyze --calibration images/ --labels labels.npy -o layers.csv
  qsdnn quantize model.onnx --study fixed-point --bits 16,8,6,4 --calibration images.npz
  qsdnn quantize model.onnx --study codebook --bits 4,2 --calibration images.npz
  qsdnn search model.onnx --calibration images.npz --max-drop 1%     (then: the fastest plan)
"""


@click.command(epilog=EPILOG, short_help="Tell which layers lose accuracy in less than fp32.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--analyze", is_flag=True,
              help="Evaluate each layer alone, then groups of layers, in the precisions that the "
              "board's engines execute.")  # fmt: skip
@click.option("--study", metavar="NAME",
              help="Evaluate layers in an arithmetic that no engine has, simulated: fixed-point "
              "(weights and activations), codebook (weights from 2^bits values), or that of a "
              "simulator of your own.")  # fmt: skip
@click.option("--bits", "widths", default=None, metavar="N,N",
              callback=lambda _context, _option, text: parse_widths(text),
              help="The numbers of bits of a value in a study.  [default: 8,6,4]")  # fmt: skip
@samples_options
@board_option
@care_options
@click.option("--engines", default=None, callback=split_names, metavar="A,B",
              help="The engines to evaluate in.  [default: all that the board has]")  # fmt: skip
@threads_option
@shape_option
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), 
              help="The seed of every random number.")  # fmt: skip
@store_option
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.csv",
              help="The file to write the table to as well, with a picture beside it.")  # fmt: skip
@json_option
def command(
    analyze: bool,
    study: str | None,
    widths: tuple[int, ...] | None,
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
    the signal-to-quantization-noise ratio (SQNR) of the outputs, what the metric loses, and the
    time that the layer saves; in int8 also what its weights alone and its activations alone lose.
    Then the best tenth of the layers together, the best quarter, and so on. Everything is stored:
    interrupted, the same command goes on from there.

    A study (--study) tells likewise what fixed point or a codebook would lose, and the storage it
    would save: layers are rounded and computed in fp32.
    """
    _check(analyze, study, widths, asked["engines"])
    if accuracy is None:
        raise InputError(
            "what a layer loses is seen on data only",
            hint="give typical inputs: --calibration DIR or --calibration FILE.npz",
        )
    if output is not None:
        check_writable(output)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from qsdnn.board import open_board
    from qsdnn.cli.console import stdout_console
    from qsdnn.cli.losses import document, tables_of, write_tables
    from qsdnn.cli.progress import Terminal
    from qsdnn.primitive import Precision
    from qsdnn.quantize import sensitivity as analysis
    from qsdnn.quantize import study as studies
    from qsdnn.quantize.simulator import ENGINE
    from qsdnn.store import Store
    from qsdnn.tuning.config import SearchConfig

    if study is not None:
        asked["engines"] = (ENGINE,)
    config = SearchConfig(
        **asked,
        accuracy=accuracy,
        precisions=tuple(Precision) if study is None else (Precision.FP32, Precision.INT8),
        command=shlex.join(["qsdnn", *sys.argv[1:]]),
    )
    with ExitStack() as stack:
        machine = open_board(board, care)
        opened = stack.enter_context(Store(store))
        listener = stack.enter_context(Terminal(quiet=as_json))
        started = stack.enter_context(machine)
        found: Analysis | Study
        if study is None:
            found = analysis.analyze(config, started, opened, listener)
        else:
            found = studies.study(config, study, widths or WIDTHS, started, opened, listener)
    content = document(found)
    if output is not None:
        content["files"] = [str(path) for path in write_tables(content, output)]
    if as_json:
        click.echo(json.dumps(content))
        return
    console = stdout_console()
    for table in tables_of(content):
        console.print(table)
    if output is not None:
        console.print(f"written: {', '.join(content['files'])}")


def parse_widths(text: str | None) -> tuple[int, ...] | None:
    """The numbers of bits in a text such as ``8,6,4``; None stays None.

    Raises:
        InputError: One of them is no whole number from 1 to 16.
    """
    if text is None:
        return None
    try:
        widths = tuple(dict.fromkeys(int(width) for width in text.split(",")))
    except ValueError:
        widths = (0,)
    if not all(width in ALLOWED for width in widths):
        raise InputError(
            f"--bits {text}: not whole numbers from {ALLOWED[0]} to {ALLOWED[-1]}",
            hint="for example: --bits 8,6,4",
        )
    return widths


def _check(
    analyze: bool,
    study: str | None,
    widths: tuple[int, ...] | None,
    engines: tuple[str, ...] | None,
) -> None:
    """Raises InputError where options do not go together."""
    if not analyze and study is None:
        raise InputError(
            "what is to be done?", hint="add --analyze, or --study fixed-point or codebook"
        )
    if study is None and widths is not None:
        raise InputError(
            "--bits: engines have precisions of their own",
            hint="add --study fixed-point or --study codebook",
        )
    if study is not None and engines is not None:
        raise InputError(
            f"--engines: no engine computes in {study}, it is simulated", hint="leave it out"
        )
