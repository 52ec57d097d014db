"""The command `qsdnn example`: writes a network to try things on."""

from __future__ import annotations

import hashlib
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

from qsdnn import examples
from qsdnn.cli.console import Column, print_table
from qsdnn.cli.options import json_option
from qsdnn.errors import InputError
from qsdnn.files import open_output

SCHEMA = "qsdnn.example/1"

COLUMNS = (
    Column(heading="name"),
    Column(heading="network", folds=True, spare=1),
    Column(heading="input", spare=2),
    Column(heading="MMACs", right=True),
    Column(heading="parameters", right=True),
    Column(heading="from", folds=True, spare=3),
)

EPILOG = """\b
Examples:
  qsdnn example                        list the networks
  qsdnn example resnet50               write resnet50.onnx
  qsdnn example shufflenet             write shufflenet.onnx: another name of shufflenet-v2
  qsdnn example kws1 -o a.onnx --seed 7
  qsdnn example digits --data digits.npz
"""


@click.command("example", epilog=EPILOG)
@click.argument("name", required=False)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File to write.  [default: NAME.onnx]"
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The seed of the weights; the same seed gives the same file.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    help="A file for samples with labels that a trained network has not seen.",
)
@click.option("--force", is_flag=True, help="Replace the file where it exists.")
@click.option("--list", "listing", is_flag=True, help="List the networks.")
@json_option
def command(
    name: str | None,
    output: Path | None,
    seed: int,
    data: Path | None,
    force: bool,
    listing: bool,
    as_json: bool,
) -> None:
    """Writes the network NAME as the file NAME.onnx; without NAME, lists all.

    The network's weights are random, but those of digits and tones, which were trained.
    """
    if listing or name is None:
        _list_json() if as_json else _list()
        return
    path = output or Path(f"{name}.onnx")  # as the user spells it
    name = examples.canonical(name)
    for file in filter(None, (path, data)):
        _check_free(file, force)
    if data and data.resolve() == path.resolve():
        raise InputError(f"{path} cannot hold both", hint="choose another file with --data")
    samples = _samples(name) if data else b""
    content = _write(path, lambda: examples.build(name, seed).SerializeToString())
    if data:
        _write(data, lambda: samples)
    if as_json:
        digest = hashlib.sha256(content).hexdigest()
        written = {"file": str(path), "seed": seed, "sha256": digest}
        written |= {"data": str(data)} if data else {}
        click.echo(json.dumps({"schema": SCHEMA, **_record(name), **written}, indent=2))
    else:
        click.echo(f"wrote {path}: {examples.describe(name)}")
        if data:
            click.echo(f"wrote {data}: inputs and labels that it was not trained on")
        click.echo(f"next: qsdnn search {_next(path, data)}")


def _next(path: Path, data: Path | None) -> str:
    """The arguments of a search on the written files."""
    budget = ["--calibration", str(data), "--max-drop", "1%"] if data else []
    return shlex.join([str(path), *budget])


def _check_free(path: Path, force: bool) -> None:
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file", hint="choose another with -o")
    if path.exists() and not force:
        raise InputError(
            f"{path} exists already", hint="add --force to replace it, or choose another with -o"
        )


def _samples(name: str) -> bytes:
    """The content of an .npz file with samples that a trained network has not seen."""
    import numpy as np

    from qsdnn.examples.data import held_out

    buffer, arrays = io.BytesIO(), cast(dict[str, Any], held_out(name))
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _write(path: Path, make: Callable[[], bytes]) -> bytes:
    """Writes all of a file or nothing: an interrupted command leaves no half of a file."""
    with open_output(path) as file:  # before the weights are drawn, which may take seconds
        content = make()
        file.write(content)
    return content


def _record(name: str) -> dict[str, Any]:
    example = examples.EXAMPLES[name]
    summary = example.summary()
    return {
        "name": name,
        "title": example.title,
        "inputs": summary.inputs,
        "macs": summary.macs,
        "parameters": summary.parameters,
        "source": example.source,
    }


def _list_json() -> None:
    records = [_record(name) for name in examples.names()]
    click.echo(json.dumps({"schema": SCHEMA, "examples": records}, indent=2))


def _list() -> None:
    rows = []
    for name, example in examples.EXAMPLES.items():
        summary = example.summary()
        rows.append(
            (
                name,
                example.title,
                summary.shapes,
                f"{summary.macs / 1e6:,.1f}",
                f"{summary.parameters:,}",
                example.source,
            )
        )
    print_table("", COLUMNS, rows)
