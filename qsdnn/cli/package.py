"""The command ``qsdnn package``: builds a plan into a folder or zip that runs alone."""

from __future__ import annotations

import json
import shlex
import tempfile
from pathlib import Path

import click

from qsdnn.cli.console import count
from qsdnn.cli.options import board_option, json_option, model_option
from qsdnn.errors import InputError

EPILOG = """\b
Examples:
  qsdnn package plan.json -o deploy.zip
  python deploy.zip                                 (on the board; --help says what else)
  qsdnn package plan.json -o deploy/ --model resnet50.onnx
  qsdnn package plan.json -o firmware/ --format c   (C99 source for a microcontroller)
"""


@click.command(epilog=EPILOG, short_help="Build a plan into a folder or zip that runs alone.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="The package to write: a folder, or a file that ends in .zip.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["python", "c"]), default="python",
              show_default=True, help="The package's form: the runtime, or C source.")  # fmt: skip
@click.option("--lanes", type=click.Choice(["1", "4", "8"]),
              help="With --format c: the floats in a vector of the processor. Without vectors, 1, "
              "the code is plain C99; else for gcc and clang.  [default: 1]")  # fmt: skip
@click.option("--force", is_flag=True,
              help="With --format c: write into a folder that holds files, too.")  # fmt: skip
@model_option
@board_option
@json_option
def command(
    plan: Path,
    output: Path,
    form: str,
    lanes: str | None,
    force: bool,
    model: Path | None,
    board: str,
    as_json: bool,
) -> None:
    """Build PLAN into a package: artifacts, manifest and the runtime.

    On the board the package needs Python 3.8 or newer, numpy and the engines the plan uses: python
    PACKAGE runs it. Programs embed it with qsdnn_runtime.Session, which has the surface of
    onnxruntime.InferenceSession, and find that in the package: PYTHONPATH=PACKAGE.

    With --format c the package is C source, for a microcontroller's own program: network_run, in
    static memory, without an operating system. Layers planned for other engines take an algorithm
    of the engine lne.
    """
    if form == "c":
        from qsdnn.plan.subject import LOCAL

        if board != LOCAL:
            raise InputError(f"--board {board}: C source is for no board", hint="leave out --board")
        _write_c(plan, output, model, int(lanes or 1), force=force, as_json=as_json)
        return
    for option, given in (("--lanes", lanes), ("--force", force)):
        if given:
            raise InputError(f"{option} is for --format c", hint=f"leave out {option}")
    _write_python(plan, output, model, board, as_json=as_json)


def _write_python(
    plan: Path, output: Path, model: Path | None, board: str, *, as_json: bool
) -> None:
    from qsdnn.board import open_board
    from qsdnn.engine import PACKAGES, Compiler, load_engines
    from qsdnn.plan.package import check_target, runtime_archive, write_package
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
        known = load_engines()
        brought = {name for name, engine in known.items() if isinstance(engine, Compiler)}
        engines = sorted({*replay.plan.engines} - brought)
        needed = dict.fromkeys(["numpy", *(PACKAGES.get(name, name) for name in engines)])
        click.echo(f"try it: python {shlex.quote(str(output))}   "
                   f"(it needs Python ≥ 3.8, {', '.join(needed)})")  # fmt: skip


def _write_c(
    plan: Path, output: Path, model: Path | None, lanes: int, *, force: bool, as_json: bool
) -> None:
    from qsdnn.plan.code import check_folder, code_of, write_code

    check_folder(output, force=force)
    code, note = code_of(plan, model, lanes)
    click.secho(note, fg="yellow", err=True)
    write_code(code, output)
    if as_json:
        content = {
            "schema": "qsdnn.coded/1",
            "package": str(output),
            "files": sorted(code.files),
            "lanes": lanes,
            "weights_bytes": code.weights_bytes,
            "arena_bytes": code.arena_bytes,
            "note": note,
        }
        click.echo(json.dumps(content))
        return
    folder = shlex.quote(str(output))
    click.echo(f"{output}: {', '.join(code.files)}; {code.weights_bytes / 1e3:.1f} kB of weights "
               f"(constant), {code.arena_bytes / 1e3:.1f} kB of static memory")  # fmt: skip
    click.echo(f"try it: make -C {folder} && {folder}/example")
