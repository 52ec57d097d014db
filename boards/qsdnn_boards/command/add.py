"""`qsdnn boards add`: gives a board an address, and decides about the board's host key."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from qsdnn.cli.options import json_option
from qsdnn.errors import BoardError, InputError
from qsdnn_boards.catalogue import DEFAULT_PYTHON, AddressBook, Entry
from qsdnn_boards.spec.spec import GENERIC, specs
from qsdnn_boards.ssh.address import Address, resolve
from qsdnn_boards.ssh.host_keys import HostKeyStatus, KnownHosts

from .listing import describe_address, entry_record

SCHEMA = "qsdnn.boards.add/1"

EPILOG = """\b
Examples:
  qsdnn boards add jetson-nano --host 192.168.0.7 --user nvidia
  qsdnn boards add lab --host lab.local --port 2222 --spec raspberry-pi-4b
  qsdnn boards add lab --accept-host-key       its key is new; see its fingerprint, accept it
"""


@click.command("add", epilog=EPILOG)
@click.argument("name")
@click.option("--host", help="The board's name, IP address, or Host entry of ~/.ssh/config.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port of the board's SSH server.")
@click.option("--user", help="The user to log in as.")
@click.option(
    "--identity-file",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="The private key to log in with.",
)
@click.option("--python", help="The board's Python, 3.8 or newer: a command or a path there.")
@click.option("--spec", help="The kind of board.  [default: NAME if known, generic-linux]")
@click.option("--accept-host-key", is_flag=True, help="Accept the host key that the board shows.")
@json_option
def command(
    name: str,
    spec: str | None,
    accept_host_key: bool,
    as_json: bool,
    **parts: Any,  # host, port, user, identity_file, python
) -> None:
    """Adds NAME to the address book, or changes the parts of NAME's address that are given.

    The board must be on, as its host key is looked at. A host key that is not known yet is shown,
    and accepted when you say so; without a terminal, only with --accept-host-key.
    """
    book = AddressBook()
    old = book.entries().get(name)
    entry = Entry(
        name=name,
        address=_address(name, old, parts),
        spec=spec or (old.spec if old else name if name in specs() else GENERIC),
    )
    key = _settle_host_key(entry, accept_host_key)
    book.put(entry)
    if as_json:
        content = {"schema": SCHEMA, "file": str(book.path), "board": entry_record(entry)}
        click.echo(json.dumps({**content, "host_key": key}, indent=2))
    else:
        click.echo(f"{'changed' if old else 'added'} {name}: {describe_address(entry.address)}")
        click.echo(f"see whether it can work: qsdnn boards check {name}")


def _address(name: str, old: Entry | None, parts: dict[str, Any]) -> Address:
    """The address from the given parts; parts that are not given stay as in the old entry."""
    given = {part: value for part, value in parts.items() if value is not None}
    if old is not None:
        before = old.address
        given = {
            "host": before.host,
            "port": before.port,
            "user": before.user,
            "identity_file": before.identity_file,
            "python": before.python,
            **given,
        }
    if "host" not in given:
        raise InputError(
            f"board '{name}' has no address yet",
            hint=f"say where it is: qsdnn boards add {name} --host ADDRESS",
        )
    return Address(**given)


def _settle_host_key(entry: Entry, accept: bool) -> dict[str, str]:
    """Looks at the key the board shows, and stores it when it is new and accepted.

    Raises:
        BoardError: The board cannot be reached, or its key is not accepted.
    """
    from qsdnn_boards.ssh.client import accept_host_key, fetch_host_key

    endpoint = resolve(entry.address)
    key = fetch_host_key(entry.address)
    status = KnownHosts(endpoint.known_hosts).judge(endpoint.known_as, key)
    record = {"fingerprint": key.fingerprint, "was": status.value}
    if status is HostKeyStatus.KNOWN:
        return record
    click.echo(f"{endpoint} shows the key {key.get_name()} {key.fingerprint}", err=True)
    if status is HostKeyStatus.CHANGED:
        click.echo("It is NOT the key this host is known by.", err=True)
    if status is HostKeyStatus.REVOKED or not (accept or _agreed(status)):
        raise BoardError(
            f"the host key of '{entry.name}' is {status.value}: nothing was added",
            hint=_way_on(entry, status),
        )
    accept_host_key(entry.address, key.fingerprint)
    return record


def _agreed(status: HostKeyStatus) -> bool:
    """Asks the user, but not about a changed key: a habitual yes would let in an impostor."""
    if status is not HostKeyStatus.UNKNOWN or not _is_terminal():
        return False
    return click.confirm("Is that the board's fingerprint?", err=True)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _way_on(entry: Entry, status: HostKeyStatus) -> str:
    if status is HostKeyStatus.REVOKED:
        return "your files of known hosts say never to accept this key"
    return f"only if it is the board's, accept it: {_command_line(entry)}"


def _command_line(entry: Entry) -> str:
    address = entry.address
    options = {
        "--host": address.host,
        "--port": address.port,
        "--user": address.user,
        "--identity-file": address.identity_file,
        "--python": None if address.python == DEFAULT_PYTHON else address.python,
        "--spec": None if entry.spec in {entry.name, GENERIC} else entry.spec,
    }
    words = ["qsdnn", "boards", "add", entry.name]
    for option, value in options.items():
        words += [] if value is None else [option, str(value)]
    return shlex.join([*words, "--accept-host-key"])
