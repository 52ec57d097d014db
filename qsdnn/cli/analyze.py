"""The command `qsdnn analyze`: what a network costs, layer by layer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qsdnn.cli.console import Column, count, print_table, stdout_console
from qsdnn.cli.options import json_option, shape_option
from qsdnn.files import write_csv

if TYPE_CHECKING:
    from qsdnn.model.analyze import Analysis, LayerRow, Shape, Totals
    from qsdnn.model.layer import Graph

SCHEMA = "qsdnn.analyze/1"

SORTS: dict[str, Callable[[LayerRow], float]] = {
    "index": lambda row: row.index,
    "macs": lambda row: -row.macs,
    "parameters": lambda row: -row.parameters,
    "activations": lambda row: -row.activation_bytes,
    "intensity": lambda row: -row.intensity,
}

COLUMNS = (
    Column(heading="", right=True),
    Column(heading="layer", folds=True),
    Column(heading="kind", spare=1),
    Column(heading="input", spare=7),
    Column(heading="output", spare=4),
    Column(heading="MMACs", right=True),
    Column(heading="parameters", right=True, spare=2),
    Column(heading="param. KB", right=True, spare=5),
    Column(heading="activ. KB", right=True, spare=3),
    Column(heading="FLOPs/byte", right=True, spare=6),
)

EPILOG = """\b
Examples:
  qsdnn analyze resnet50.onnx
  qsdnn analyze kws1.onnx --sort macs --bits 8
  qsdnn analyze detector.onnx --shape image=1,3,640,640 --json
"""


@click.command("analyze", epilog=EPILOG)
@click.argument("model", type=click.Path(path_type=Path))
@shape_option
@click.option(
    "--bits",
    type=click.IntRange(1, 64),
    default=32,
    show_default=True,
    help="The number of bits of one stored weight, for the sizes of parameters.",
)
@click.option(
    "--sort",
    type=click.Choice(list(SORTS)),
    default="index",
    show_default=True,
    help="The quantity to order the layers by; all but the index, largest first.",
)
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path), help="A file to write the layers to."
)
@json_option
def command(
    model: Path,
    shapes: dict[str, tuple[int, ...]],
    bits: int,
    sort: str,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Shows what each layer of MODEL computes, stores and moves."""
    # Slow to import, and not needed for --help.
    from qsdnn.model import load_graph
    from qsdnn.model.analyze import analyze

    graph = load_graph(model, shapes)
    analysis = analyze(graph, bits=bits)
    rows = sorted(analysis.rows, key=SORTS[sort])
    if csv_file is not None:
        _write_csv(csv_file, rows)
    if as_json:
        click.echo(json.dumps(_document(graph, analysis, rows, bits), indent=2))
    else:
        _print(graph, analysis, rows, bits)


def _record(row: LayerRow) -> dict[str, Any]:
    """The values of a row in the units of the table: KB and MB are powers of ten."""
    return {
        "index": row.index,
        "name": row.name,
        "kind": row.kind,
        "ops": row.ops,
        "input_shapes": row.input_shapes,
        "output_shapes": row.output_shapes,
        "mmacs": row.macs / 1e6,
        "parameters": row.parameters,
        "parameter_kb": row.parameter_bytes / 1e3,
        "activation_kb": row.activation_bytes / 1e3,
        "intensity": row.intensity,
        "pinned": row.pinned,
    }


def _document(
    graph: Graph, analysis: Analysis, rows: Sequence[LayerRow], bits: int
) -> dict[str, Any]:
    from qsdnn.model.acceptance import precision_notes

    totals = analysis.totals
    return {
        "schema": SCHEMA,
        "model": {"path": str(graph.path), "sha256": graph.sha256, "layers": len(rows)},
        "layers": [_record(row) for row in rows],
        "notes": precision_notes(graph),
        "totals": {
            "mmacs": totals.macs / 1e6,
            "mflops": totals.flops / 1e6,
            "parameters": totals.parameters,
            "weight_bits": bits,
            "weight_mb": totals.parameter_bytes / 1e6,
            "activation_kb": totals.activation_bytes / 1e3,
            "peak_activation_kb": totals.peak_activation_bytes / 1e3,
        },
    }


def _write_csv(path: Path, rows: Sequence[LayerRow]) -> None:
    records = [
        _record(row)
        | {
            "ops": "+".join(row.ops),
            "input_shapes": " ".join(map(_sizes, row.input_shapes)),
            "output_shapes": " ".join(map(_sizes, row.output_shapes)),
        }
        for row in rows
    ]
    write_csv(path, list(records[0]) if records else (), records, "--csv")


def _print(graph: Graph, analysis: Analysis, rows: Sequence[LayerRow], bits: int) -> None:
    from rich.markup import escape

    from qsdnn.model.acceptance import precision_notes

    totals = analysis.totals
    print_table(
        f"{graph.name}: {count(len(rows), 'layer')}",
        COLUMNS,
        [_cells(row) for row in rows],
        total=("", "total", "", "", "", *_amounts(totals), ""),
        all_of_it="--csv FILE",
    )
    console = stdout_console()
    console.print(
        f"{totals.flops / 1e6:,.1f} MFLOPs · {totals.parameters:,} parameters, "
        f"{totals.parameter_bytes / 1e6:,.2f} MB at {bits} bits · activations "
        f"{totals.activation_bytes / 1e3:,.1f} KB, at most "
        f"{totals.peak_activation_bytes / 1e3:,.1f} KB alive"
    )
    for row in rows:
        if row.pinned:
            console.print(f"[yellow]* {escape(row.name)}: onnxruntime only: {escape(row.pinned)}")
    for note in precision_notes(graph):
        console.print(f"[yellow]{escape(note)}")


def _cells(row: LayerRow) -> tuple[str, ...]:
    return (
        str(row.index),
        row.name,
        f"{row.kind} *" if row.pinned else row.kind,
        "\n".join(map(_sizes, row.input_shapes)),
        "\n".join(map(_sizes, row.output_shapes)),
        *_amounts(row),
        f"{row.intensity:,.1f}",
    )


def _amounts(cost: LayerRow | Totals) -> tuple[str, ...]:
    return (
        f"{cost.macs / 1e6:,.2f}",
        f"{cost.parameters:,}",
        f"{cost.parameter_bytes / 1e3:,.1f}",
        f"{cost.activation_bytes / 1e3:,.1f}",
    )


def _sizes(shape: Shape) -> str:
    return "?" if shape is None else "x".join(map(str, shape)) or "scalar"
