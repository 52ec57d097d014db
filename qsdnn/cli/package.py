"""The command ``qsdnn package``: builds a plan into a folder or zip that runs alone."""

from __future__ import annotations

import json
import shlex
import tempfile
from pathlib import Path

import click

from qsdnn.cli.console import count
from qsdnn.cli.options import board_option, json_option, model_option

EPILOG = """\b
Examples:
  qsdnn package plan.json -o deploy.zip
  python deploy.zip                                 (on the board; --help says what else)
  qsdnn package plan.json -o deploy/ --model resnet50.onnx
"""


@click.command(epilog=EPILOG, short_help="Build a plan into a folder or zip that runs alone.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="The package to write: a folder, or a file that ends in .zip.")  # fmt: skip
@model_option
@board_option
@json_option
def command(plan: Path, output: Path, model: Path | None, board: str, as_json: bool) -> None:
    """Build PLAN into a package: artifacts, manifest and the runtime.

    On the board the package needs Python 3.8 or newer, numpy and the engines the plan uses: python
    PACKAGE runs it. Programs embed it with qsdnn_runtime.Session, which has the surface of
    onnxruntime.InferenceSession, and find that in the package: PYTHONPATH=PACKAGE.
    """
    from qsdnn.board import open_board
    from qsdnn.plan.archive import runtime_archive
    from qsdnn.plan.package import check_target, write_package
    from qsdnn.plan.subject import rebuild

    check_target(output)
    with open_board(board) as machine, tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch:
        replay = rebuild(plan, model, machine.probe(), Path(scratch))
        package = replay.package
        if replay.note:
            click.secho(replay.note, fg="yellow", err=True)
        write_package(package, replay.plan, runtime_archive().content, output)
    size_bytes = sum(artifact["size_bytes"] for artifact in package.manifest["artifacts"].values())
    segments = [segment["engine"] for segment in package.manifest["segments"]]
    if as_json:
        content = {
            "schema": "qsdnn.packaged/1",
            "package": str(output),
            "segments": segments,
            "artifacts_bytes": size_bytes,
            "note": replay.note,
        }
        click.echo(json.dumps(content))
    else:
        click.echo(f"{output}: {count(len(segments), 'segment')} ({' → '.join(segments)}), "
                   f"{size_bytes / 1e6:.1f} MB of artifacts")  # fmt: skip
        click.echo(f"try it: python {shlex.quote(str(output))}   (it needs Python ≥ 3.8, numpy"
                   f"{''.join(f', {name}' for name in sorted(replay.plan.engines))})")  # fmt: skip
