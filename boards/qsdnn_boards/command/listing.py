"""`qsdnn boards list` and `remove`: the boards that have an address, and other known kinds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from qsdnn.cli.console import stdout_console
from qsdnn.cli.options import json_option
from qsdnn_boards.catalogue import AddressBook, Entry
from qsdnn_boards.spec.spec import GENERIC, Spec, specs
from qsdnn_boards.ssh.address import Address, host_and_port

SCHEMA = "qsdnn.boards.list/1"
REMOVE_SCHEMA = "qsdnn.boards.remove/1"

EPILOG = """\b
Examples:
  qsdnn boards list
  qsdnn boards list --json
"""


def describe_address(address: Address) -> str:
    """``user@host:port``, without the parts that the address does not say."""
    host = host_and_port(address.host, address.port) if address.port else address.host
    return f"{address.user}@{host}" if address.user else host


def entry_record(entry: Entry) -> dict[str, Any]:
    """An entry of the address book, for JSON."""
    address = entry.address
    key = address.identity_file
    return {
        "name": entry.name,
        "spec": entry.spec,
        "host": address.host,
        "port": address.port,
        "user": address.user,
        "identity_file": None if key is None else str(key),
        "python": address.python,
    }


@click.command("list", epilog=EPILOG)
@json_option
def command(as_json: bool) -> None:
    """Lists the boards of the address book, then the known kinds of boards without an address."""
    entries = AddressBook().entries()
    if as_json:
        content = {
            "schema": SCHEMA,
            "boards": [entry_record(entry) for entry in entries.values()],
            "specs": [
                {"name": spec.name, "title": spec.title, "run_on_hardware": spec.run_on_hardware}
                for spec in specs().values()
            ],
        }
        click.echo(json.dumps(content, indent=2))
        return
    others = [spec for spec in specs().values() if spec.name not in {*entries, GENERIC}]
    _print(entries.values(), others)


def _print(entries: Iterable[Entry], others: Iterable[Spec]) -> None:
    from rich.table import Table

    table = Table(header_style="bold")
    for heading in ("name", "address", "board"):
        table.add_column(heading)
    table.add_row("local", "", "this machine")
    for entry in entries:
        table.add_row(entry.name, describe_address(entry.address), specs()[entry.spec].title)
    table.add_section()
    for spec in others:
        table.add_row(f"[dim]{spec.name}", "[dim]not yet", f"[dim]{spec.title}")
    console = stdout_console()
    console.print(table)
    console.print("Give one an address: qsdnn boards add NAME --host ADDRESS")


REMOVE_EPILOG = """\b
Example:
  qsdnn boards remove lab
"""


@click.command("remove", epilog=REMOVE_EPILOG)
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Removes NAME from the address book; what was measured on it is kept, and so is its key."""
    entry = AddressBook().remove(name)
    if as_json:
        content = {"schema": REMOVE_SCHEMA, "removed": entry_record(entry)}
        click.echo(json.dumps(content, indent=2))
    else:
        click.echo(f"removed {name}: {describe_address(entry.address)}")
