"""What a host says of itself to a board: whom others are told of that find the board in use."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import click


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """Who measures. No command line, which may hold what others must not see.

    Attributes:
        session: Tells the agents that one board object has started from all others.
        user: The user here.
        host: This machine's name.
        process: This process.
        purpose: The command, e.g. ``search``.
    """

    session: str
    user: str
    host: str
    process: int
    purpose: str


def introduce() -> Introduction:
    """This process, in a new session."""
    return Introduction(
        session=secrets.token_hex(8),
        user=_user(),
        host=socket.gethostname(),
        process=os.getpid(),
        purpose=_purpose(),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"


def _purpose() -> str:
    context = click.get_current_context(silent=True)
    program = Path(sys.argv[0]).stem or "python"
    return program if context is None or not context.info_name else context.info_name
