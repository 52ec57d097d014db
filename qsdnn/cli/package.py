"""``qsdnn package``."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click

from qsdnn.cli.console import count
from qsdnn.cli.options import board_option, json_option, model_option

EPILOG = """\b
Examples:
  qsdnn package plan.json -o deploy/
  qsdnn package plan.json -o deploy.zip --model resnet50.onnx
  PYTHONPATH=deploy/runtime.zip python -m qsdnn_runtime deploy/     (on the board)
"""


@click.command(epilog=EPILOG, short_help="Build a plan into a folder or zip that runs alone.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="A folder, or a file that ends in .zip.")  # fmt: skip
@model_option
@board_option
@json_option
def command(plan: Path, output: Path, model: Path | None, board: str, as_json: bool) -> None:
    """Build PLAN into a package: artifacts, manifest and the runtime.

    On the board it needs Python 3.8 or newer, numpy and the engines the plan uses. Programs embed
    it with qsdnn_runtime.Session, which has the surface of onnxruntime.InferenceSession.
    """
    from qsdnn.archive import runtime_archive
    from qsdnn.board import open_board
    from qsdnn.package import write_package
    from qsdnn.replay import rebuild

    with open_board(board) as machine, tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch:
        replay = rebuild(plan, model, machine.probe(), Path(scratch))
        package = replay.package
        write_package(package, replay.plan, runtime_archive().content, output)
    size_bytes = sum(artifact["size_bytes"] for artifact in package.manifest["artifacts"].values())
    segments = [segment["engine"] for segment in package.manifest["segments"]]
    if as_json:
        content = {
            "schema": "qsdnn.packaged/1",
            "package": str(output),
            "segments": segments,
            "artifacts_bytes": size_bytes,
        }
        click.echo(json.dumps(content))
    else:
        click.echo(f"{output}: {count(len(segments), 'segment')} ({' → '.join(segments)}), "
                   f"{size_bytes / 1e6:.1f} MB of artifacts")  # fmt: skip
        click.echo(f"try it: PYTHONPATH={output}/runtime.zip python -m qsdnn_runtime {output}")
