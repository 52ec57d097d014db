"""`qsdnn boards show`: what is known of a board before it is reached; or facts of this machine."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict

import click

from qsdnn.board import open_board
from qsdnn.cli.console import stdout_console
from qsdnn.cli.options import json_option
from qsdnn.errors import unknown
from qsdnn_boards.catalogue import AddressBook, Entry
from qsdnn_boards.spec.spec import PLACEHOLDER, Command, Sensor, Setting, Spec, specs

from .listing import describe_address, entry_record

SCHEMA = "qsdnn.boards.show/1"
LOCAL = "local"

EPILOG = """\b
Examples:
  qsdnn boards show jetson-agx-orin
  qsdnn boards show lab --json
  qsdnn boards show local                   this machine
"""


@click.command("show", epilog=EPILOG)
@click.argument("name")
@json_option
def command(name: str, as_json: bool) -> None:
    """Shows the facts, the performance mode and the sensors of a board.

    NAME is a board of the address book, or a known kind of board; or local: this machine, whose
    facts and engines are then read.
    """
    if name == LOCAL:
        _show_this_machine(as_json)
        return
    entry = AddressBook().entries().get(name)
    kind = name if entry is None else entry.spec
    if kind not in specs():
        raise unknown("board", name, {LOCAL, *AddressBook().entries(), *specs()})
    spec = specs()[kind]
    if as_json:
        address = None if entry is None else entry_record(entry)
        content = {"schema": SCHEMA, "address": address, "spec": asdict(spec)}
        click.echo(json.dumps(content, indent=2))
    else:
        _print(spec, entry)


def _show_this_machine(as_json: bool) -> None:
    with open_board(LOCAL) as board:
        info = board.probe()
    if as_json:
        content = {"schema": SCHEMA, "address": None, "spec": None, "board": asdict(info)}
        click.echo(json.dumps(content, indent=2))
        return
    console = stdout_console()
    console.print(f"[bold]this machine[/] ({LOCAL})")
    for name, value in info.facts.items():
        if value:
            console.print(f"  {name}: {_listed(value)}", markup=False)
    console.print("\n[bold]Engines[/]")
    for engine in info.engines.values():
        console.print(f"  {engine.name}: {engine.version}", markup=False)
    console.print("\nWhether it can work: qsdnn boards check local")


def _listed(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _print(spec: Spec, entry: Entry | None) -> None:
    console = stdout_console()
    console.print(f"[bold]{spec.title}[/] ({spec.name})")
    if entry is not None:
        console.print(f"address: {describe_address(entry.address)}")
    if not spec.run_on_hardware:
        console.print("[yellow]What follows was not run on hardware yet.[/]")
    for fact in spec.facts:
        console.print(f"  {fact.name}: {fact.value}  [dim]{fact.source}[/]")
    _print_performance(spec)
    console.print(f"  measures at {spec.max_temperature_c:g} °C or below, after a pause to cool")
    console.print("\n[bold]Sensors[/]")
    for sensor in spec.sensors:
        console.print(f"  {sensor.name} {sensor.quantity}: {_place(sensor)}", markup=False)
    for heading, texts in (("Notes", spec.notes), ("Sources", spec.sources)):
        if texts:
            console.print(f"\n[bold]{heading}[/]")
        for text in texts:
            console.print(f"  {text}", markup=False)


def _print_performance(spec: Spec) -> None:
    console = stdout_console()
    console.print("\n[bold]Performance mode[/]")
    for setting in spec.performance:
        console.print(f"  {setting.what}")
        for name in ("query", "set", "restore"):
            line = _typed(getattr(setting, name), setting)
            console.print(f"    {name + ':':9}{line}", markup=False)


def _place(sensor: Sensor) -> str:
    """The thermal zone or the files that a sensor is read from."""
    if sensor.nvml:
        return f"NVML, {sensor.nvml}"
    if sensor.zones:
        return f"thermal zone {' or '.join(sensor.zones)}"
    product = f" × {' or '.join(sensor.times)}" if sensor.times else ""
    return f"{' or '.join(sensor.files)}{product}"


def _typed(command: Command, setting: Setting) -> str:
    """A command as one would type it on the board, for people to read and copy.

    A command that runs for each file is shown with the glob of the files: the programs that are run
    take many files.
    """
    stands_for = {"path": setting.each, "value": "VALUE", "state": "clocks.state"}

    def fill(text: str) -> str:
        return PLACEHOLDER.sub(lambda found: stands_for[found[1]], text)

    quoted = [fill(word) if PLACEHOLDER.search(word) else shlex.quote(word) for word in command.run]
    line = " ".join(["sudo", *quoted] if setting.needs_root else quoted)
    return f"echo {fill(command.input)} | {line}" if command.input else line
