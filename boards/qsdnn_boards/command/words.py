"""Boards as the commands print them."""

from __future__ import annotations

import shlex
from typing import Any

from qsdnn_boards.addresses import Entry
from qsdnn_boards.spec.spec import PLACEHOLDER, Command, Setting
from qsdnn_boards.ssh.address import Address
from qsdnn_boards.ssh.config import host_and_port


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


def typed(command: Command, setting: Setting) -> str:
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
