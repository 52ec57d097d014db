"""`qsdnn boards show`: what is known of a board before it is reached."""

from __future__ import annotations

import dataclasses
import json

import click

from qsdnn.cli.console import stdout_console
from qsdnn.cli.options import json_option
from qsdnn.errors import unknown
from qsdnn_boards.addresses import AddressBook, Entry
from qsdnn_boards.spec import Sensor, Spec, specs

from .words import describe_address, entry_record, typed

SCHEMA = "qsdnn.boards.show/1"

EPILOG = """\b
Examples:
  qsdnn boards show jetson-agx-orin
  qsdnn boards show lab --json
"""


@click.command("show", epilog=EPILOG)
@click.argument("name")
@json_option
def command(name: str, as_json: bool) -> None:
    """Shows the facts, the performance mode and the sensors of a board.

    NAME is a board of the address book, or a known kind of board.
    """
    entry = AddressBook().entries().get(name)
    kind = name if entry is None else entry.spec
    if kind not in specs():
        raise unknown("board", name, {*AddressBook().entries(), *specs()})
    spec = specs()[kind]
    if as_json:
        address = None if entry is None else entry_record(entry)
        content = {"schema": SCHEMA, "address": address, "spec": dataclasses.asdict(spec)}
        click.echo(json.dumps(content, indent=2))
    else:
        _print(spec, entry)


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
            line = typed(getattr(setting, name), setting)
            console.print(f"    {name + ':':9}{line}", markup=False)


def _place(sensor: Sensor) -> str:
    """Where it is read."""
    if sensor.zones:
        return f"thermal zone {' or '.join(sensor.zones)}"
    product = f" × {' or '.join(sensor.times)}" if sensor.times else ""
    return f"{' or '.join(sensor.files)}{product}"
