"""`qsdnn boards setup`: installs numpy and engines on a board, in a virtual environment."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from pathlib import Path

import click

from qsdnn import engine
from qsdnn.cli.options import json_option, split_names
from qsdnn.errors import InputError, unknown
from qsdnn.plugin import registered
from qsdnn_boards.catalogue import AddressBook
from qsdnn_boards.setup.script import remote_python
from qsdnn_boards.setup.setup import Installed, Setup, download_wheels
from qsdnn_boards.ssh.address import Address, parse_address

SCHEMA = "qsdnn.boards.setup/1"
LARGE = {"tensorrt", "torch"}
"""Engines whose packages are of hundreds of megabytes: installed when asked for by name."""

EPILOG = """\b
Examples:
  qsdnn boards setup jetson-nano
  qsdnn boards setup jetson-nano --engines onnxruntime
  qsdnn boards setup lab --wheelhouse wheels     the board has no internet
"""


@click.command("setup", epilog=EPILOG)
@click.argument("name")
@click.option(
    "--engines",
    callback=split_names,
    metavar="A,B",
    help="Engines to install.  [default: all but tensorrt and torch, which are large]",
)
@click.option(
    "--wheelhouse",
    type=click.Path(file_okay=False, path_type=Path),
    help="Download wheels for the board into this folder, and send them to it.",
)
@json_option
def command(
    name: str, engines: tuple[str, ...] | None, wheelhouse: Path | None, as_json: bool
) -> None:
    """Installs numpy and engines on a board: NAME, or user@host[:port].

    The packages go into a virtual environment in the user's data folder on the board, from the
    board's own package index; nothing else on the board is changed. The address book then names the
    Python of that environment.
    """
    packages = _packages(engines)
    with Setup(name, remote_python(name, _address(name))) as setup:
        installed = _install(setup, packages, wheelhouse)
    usable = not installed.errors["numpy"]
    if usable:
        _remember(name, installed.python)
    if as_json:
        errors = dict(installed.errors)
        content = {"schema": SCHEMA, "board": name, "python": installed.python, "errors": errors}
        click.echo(json.dumps(content, indent=2))
    else:
        _print(name, installed)
    # An engine that was asked for by name must install; of "all", only those with wheels can.
    wanted = packages if engines else ["numpy"]
    sys.exit(any(installed.errors[package] for package in wanted))


def _packages(engines: tuple[str, ...] | None) -> list[str]:
    known = [point.name for point in registered(engine.GROUP)]
    for name in engines or ():
        if name not in known:
            raise unknown("engine", name, known)
    chosen = sorted({*known} - LARGE) if engines is None else engines
    return list(dict.fromkeys(["numpy", *(engine.PACKAGES.get(name, name) for name in chosen)]))


def _address(name: str) -> Address:
    if name == "local":
        raise InputError(
            "'local' is this machine: its engines are those of the Python that runs qsdnn",
            hint=f"{shlex.quote(sys.executable)} -m pip install openvino",
        )
    return parse_address(name) if "@" in name else AddressBook().find(name).address


def _install(setup: Setup, packages: list[str], wheelhouse: Path | None) -> Installed:
    def tell(text: str) -> None:
        click.echo(click.style(text, dim=True), err=True)

    board = setup.begin()
    wheels = [] if wheelhouse is None else download_wheels(packages, board, wheelhouse, tell)
    return setup.install(packages, wheels, tell)


def _remember(name: str, python: str) -> None:
    book = AddressBook()
    entry = book.entries().get(name)
    if entry is not None:
        address = dataclasses.replace(entry.address, python=python)
        book.put(dataclasses.replace(entry, address=address))


def _print(name: str, installed: Installed) -> None:
    for package, error in installed.errors.items():
        last = error.strip().splitlines()[-1] if error else ""
        state = click.style("failed", fg="red") if error else click.style("ok", fg="green")
        click.echo(f"{package}: {state} {last}".rstrip())
    click.echo(f"Python: {installed.python}")
    if name in AddressBook().entries():
        click.echo(f"see whether it can work: qsdnn boards check {name}")
    else:
        click.echo("use it: qsdnn boards add NAME --host HOST --python " + installed.python)
