"""This host, as a measuring server is told of it: who measures, and that it still lives."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """Who measures. The command line is left out: it may hold what others must not see.

    How a host introduces itself to a board, so that other hosts can be told who uses the board.

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


class Heartbeat:
    """Beats in the background, from when it is started until it is stopped.

    A heartbeat: tells a measuring server that its host lives, whatever the host is busy with.

    Args:
        beat: The function to call again and again; an OSError from it ends the heartbeat.
        every_s: The pause before each beat.
    """

    def __init__(self, beat: Callable[[], None], every_s: float) -> None:
        self._beat = beat
        self._every_s = every_s
        self._over = threading.Event()

    def start(self) -> None:
        """Starts the heartbeat; the first beat comes after the first pause."""
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Stops the heartbeat: no beat begins after this call."""
        self._over.set()

    def _run(self) -> None:
        with suppress(OSError):
            while not self._over.wait(self._every_s):
                self._beat()
