"""`qsdnn boards remove`: forgets a board's address."""

from __future__ import annotations

import json

import click

from qsdnn.cli.options import json_option
from qsdnn_boards.addresses import AddressBook

from .listing import describe_address, entry_record

SCHEMA = "qsdnn.boards.remove/1"

EPILOG = """\b
Example:
  qsdnn boards remove lab
"""


@click.command("remove", epilog=EPILOG)
@click.argument("name")
@json_option
def command(name: str, as_json: bool) -> None:
    """Removes NAME from the address book; what was measured on it is kept, and so is its key."""
    entry = AddressBook().remove(name)
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "removed": entry_record(entry)}, indent=2))
    else:
        click.echo(f"removed {name}: {describe_address(entry.address)}")
