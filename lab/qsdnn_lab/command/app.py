"""`qsdnn app`: makes, builds, shows and runs applications."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from qsdnn.cli.console import count
from qsdnn.cli.options import board_option, json_option, wait_option
from qsdnn.errors import InputError, unknown
from qsdnn_lab.app.templates import CLASSES, configuration

EPILOG = """\b
Examples:
  qsdnn example kws1
  qsdnn app new keywords --class audio_classification --model kws1.onnx
  qsdnn app build keywords -o keywords-app
  qsdnn app run keywords-app word.wav --board jetson-nano
  python keywords-app word.wav              (on the board, with nothing else of ours)
"""


@click.group("app", epilog=EPILOG, short_help="Make, build, show and run applications.")
def command() -> None:
    """Applications: what goes before a network, the network, and what goes after it.

    An application is a folder: ai_app_config.json has its stages, ai_app.yml what people want to
    know of it. `build` turns its networks into packages for a board; the folder then runs there
    with Python 3.8 or newer, numpy and the engines of its plans.
    """
    if find_spec("yaml") is None:
        raise InputError(
            "PyYAML is not installed, which reads ai_app.yml", hint="pip install 'qsdnn[lab]'"
        )


@command.command("new", epilog=EPILOG, short_help="Begin an application.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--class", "kind", required=True, metavar="CLASS",
              help=f"The class: {', '.join(CLASSES)}.")  # fmt: skip
@click.option("--model", type=click.Path(path_type=Path), help="The ONNX file of the network.")
@click.option("--plan", type=click.Path(path_type=Path), help="The plan of the network.")
@click.option("--engine", help="The engine that runs the model.  [default: onnxruntime]")
@json_option
def new(
    folder: Path,
    kind: str,
    model: Path | None,
    plan: Path | None,
    engine: str | None,
    as_json: bool,
) -> None:
    """Begin an application in FOLDER, with the stages that a class usually has.

    The network's shape tells the size of images and the number of coefficients. What no shape can
    tell, as labels or how boxes are coded, is to be written into ai_app_config.json.
    """
    from qsdnn.files import naming
    from qsdnn.model import load_graph
    from qsdnn.plan import read_plan
    from qsdnn.plan.subject import find_model
    from qsdnn_lab.app.config import METADATA, write_application
    from qsdnn_runtime.app.application import CONFIG

    if kind not in CLASSES:
        raise unknown("class", kind, CLASSES)
    if (model is None) == (plan is None):
        raise InputError("an application needs a network", hint="give --model or --plan")
    if engine and plan:
        raise InputError("--engine is for --model: a plan names its engines")
    if (folder / CONFIG).exists():
        raise InputError(f"{folder} is an application already", hint="choose another folder")
    shapes: Mapping[str, tuple[int, ...]] = {}
    if plan is None:
        assert model is not None
        source, network = model, {"model": _from(folder, model)}
    else:
        read = read_plan(plan)
        source, shapes = find_model(read, plan), read.model.shapes
        network = {"plan": _from(folder, plan)}
    graph = load_graph(source, shapes)
    network |= {"engine": engine} if engine else {}
    config = configuration(folder.resolve().name, kind, network, graph)
    metadata = {
        "name": config["name"],
        "class": kind,
        "description": f"{graph.name} as {kind.replace('_', ' ')}",
        "licence": "",
        "challenge": "",
        "model": {"name": graph.name, "sha256": graph.sha256},
    }
    with naming(folder, "FOLDER"):
        folder.mkdir(parents=True, exist_ok=True)
        write_application(folder, config, metadata)
    if as_json:
        click.echo(json.dumps({"schema": "qsdnn.app.new/1", "folder": str(folder), **config}))
        return
    click.echo(f"{folder}: {CONFIG} and {METADATA}")
    for stage in config["components"][0]["preprocessing"]:
        click.echo(f"  before: {_stage(stage)}")
    for stage in config["components"][0]["postprocessing"]:
        click.echo(f"  after:  {_stage(stage)}")
    click.echo(f"next: qsdnn app build {shlex.quote(str(folder))} -o DIR")


@command.command("build", epilog=EPILOG, short_help="Build an application into a folder that runs.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="The folder to write.")  # fmt: skip
@board_option
@json_option
def build_(folder: Path, output: Path, board: str, as_json: bool) -> None:
    """Build the application in FOLDER: its networks become packages, and the runtime is added."""
    from qsdnn.board import open_board
    from qsdnn_lab.app.build import build, check_target, packages_of
    from qsdnn_lab.app.config import read_application

    app = read_application(folder)
    check_target(output)
    with open_board(board) as machine, tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch:
        packages = packages_of(app, machine.probe(), Path(scratch))
        build(app, packages, board, output)
    size_bytes = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    if as_json:
        content = {"schema": "qsdnn.app.build/1", "folder": str(output), "size_bytes": size_bytes}
        click.echo(json.dumps(content))
        return
    click.echo(f"{output}: {count(len(packages), 'network')}, {size_bytes / 1e6:.1f} MB")
    click.echo(f"try it: python {shlex.quote(str(output))} INPUT")


@command.command("run", epilog=EPILOG, short_help="Run an application on one input.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@board_option
@wait_option
@json_option
def run(folder: Path, source: Path, board: str, wait_s: float, as_json: bool) -> None:
    """Run the application in FOLDER on INPUT, an image, a sound or a signal, on a board."""
    from qsdnn.board import Care, open_board
    from qsdnn_lab.app.config import read_application
    from qsdnn_lab.app.run import run_on
    from qsdnn_runtime.app.__main__ import as_text

    app = read_application(folder)
    with open_board(board, Care(wait_s=wait_s)) as machine:
        results = run_on(machine, app, source, lambda note: click.echo(f"note: {note}", err=True))
    if as_json:
        click.echo(json.dumps({"schema": "qsdnn.app.run/1", "board": board, "results": results}))
    else:
        click.echo(as_text(results))


@command.command("show", epilog=EPILOG, short_help="Show what an application does.")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def show(folder: Path, as_json: bool) -> None:
    """Show the stages and the networks of the application in FOLDER."""
    from qsdnn_lab.app.config import read_application

    app = read_application(folder)
    if as_json:
        content = {"config": app.config, "metadata": app.metadata, "built": app.is_built}
        click.echo(json.dumps({"schema": "qsdnn.app.show/1", **content}))
        return
    for key, value in app.metadata.items():
        parts = value.items() if isinstance(value, Mapping) else [("", value)]
        told = ", ".join(f"{name} {part}".strip() for name, part in parts)
        click.echo(f"{key}: {told or '–'}")
    click.echo(f"input: {app.config['input']['kind']}")
    for component in app.config["components"]:
        reads = component.get("reads")
        told = f", which reads each box of {reads}" if reads else ""
        click.echo(f"{component['name']}{told}:")
        for stage in component.get("preprocessing", ()):
            click.echo(f"  before: {_stage(stage)}")
        network = component.get("package") or component.get("plan") or component["model"]
        click.echo(f"  network: {network}")
        for stage in component.get("postprocessing", ()):
            click.echo(f"  after:  {_stage(stage)}")
    if not app.is_built:
        click.echo(f"next: qsdnn app build {shlex.quote(str(folder))} -o DIR")


def _from(folder: Path, path: Path) -> str:
    """A path as seen from a folder, where it is below the folder's parent; else the whole path."""
    relative = os.path.relpath(path.resolve(), folder.resolve())
    return relative if relative.count("..") <= 1 else str(path.resolve())


def _stage(stage: dict[str, Any]) -> str:
    """A stage for people."""
    values = [f"{key} {value}" for key, value in stage.items() if key != "stage"]
    return f"{stage['stage']} {', '.join(values)}".strip()
