"""How a host introduces itself to a board, so that other hosts can be told who uses the board."""

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
    """Who measures. The command line is left out: it may hold what others must not see.

    Attributes:
        session: A random text that is common to all measuring servers that one board object starts.
        user: The name of the user on this machine.
        host: The name of this machine.
        process: The process id of this process.
        purpose: The name of the command, e.g. ``search``.
    """

    session: str
    user: str
    host: str
    process: int
    purpose: str


def introduce() -> Introduction:
    """The introduction of this process, with a new session."""
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
