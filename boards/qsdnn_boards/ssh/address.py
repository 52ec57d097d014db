"""Where a board is: an address for SSH, and its short form ``user@host[:port]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from qsdnn.errors import InputError

FORM = re.compile(
    r"(?P<user>\S+)@(?:\[(?P<bracketed>[^\s\[\]]+)\]|(?P<plain>[^\s@:\[\]]+))(?::(?P<port>\d+))?"
)
# None of these characters means anything to a shell, and no match can begin an option.
HOST = re.compile(r"[\w:][\w.:%-]*")
USER = re.compile(r"[\w][\w.@\\$-]*")
PYTHON = re.compile(r"(~/)?[\w./+][\w./+-]*")
PORTS = range(1, 1 << 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a board is reached over SSH. ``~/.ssh/config`` or SSH's default stands in for a None.

    Attributes:
        host: A name, an IP address, or a ``Host`` of ``~/.ssh/config``.
        port: The port of the SSH server.
        user: The user to log in as.
        identity_file: The private key to try first.
        python: The board's Python: a command, or a path; ``~/`` is the user's home there.

    Raises:
        InputError: A part has characters, or a value, that it may not have.
    """

    host: str
    port: int | None = None
    user: str | None = None
    identity_file: Path | None = None
    python: str = "python3"

    def __post_init__(self) -> None:
        """Checks each part."""
        _check("host", self.host, HOST.fullmatch(self.host) is not None)
        _check("user", self.user, self.user is None or USER.fullmatch(self.user) is not None)
        _check("port", self.port, self.port is None or self.port in PORTS)
        _check("python", self.python, PYTHON.fullmatch(self.python) is not None)


def _check(part: str, value: object, good: bool) -> None:
    if not good:
        raise InputError(
            f"a board's address: '{value}' cannot be its {part}",
            hint="an address looks like pi@raspberrypi.local or pi@192.168.0.7:2222",
        )


def parse_address(text: str) -> Address:
    """Reads ``user@host[:port]``; an IPv6 address stands in brackets.

    Raises:
        InputError: The text has another form.
    """
    match = FORM.fullmatch(text)
    _check("address", text, match is not None)
    assert match is not None
    port = match["port"]
    return Address(
        host=match["bracketed"] or match["plain"],
        port=None if port is None else int(port),
        user=match["user"],
    )
