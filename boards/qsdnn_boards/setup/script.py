"""Runs a script on a board that has no files of qsdnn, and speaks with that script.

The host sends the script's text. The board's Python, 3.8 or newer, runs the script with nothing but
the standard library; host and script speak in lines of JSON.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import Any

from qsdnn.errors import BoardError
from qsdnn_boards.link.transport import PipeTransport, Transport
from qsdnn_boards.ssh.address import Address
from qsdnn_boards.ssh.board import READER, remote_command

# What a login script prints ends at this text.
MAGIC = "\0qsdnn-script\0"
# The time that Python itself may take to start from a slow SD card.
START_TIMEOUT_S = 60.0
RUNTIME = "qsdnn_runtime"
CHUNK_BYTES = 1 << 20


class Script:
    """A conversation with a script on one board; use it as a context manager.

    Args:
        name: The board's name, for messages.
        transport: The transport to a Python on the board that runs the first line it reads
            (`READER`).
        file: The name of the script, a file beside this one.
        silence_s: How long the script may say nothing.
        modules: The modules of `qsdnn_runtime` that the script imports; they are sent with the
            script, each after the modules that it needs.

    Raises:
        BoardError: The board was lost.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        file: str,
        silence_s: float,
        modules: Sequence[str] = (),
    ) -> None:
        self._name = name
        self._transport = transport
        self._silence_s = silence_s
        self.answers: Iterator[dict[str, Any]] = self._listen()
        text = files(__package__).joinpath(file).read_text(encoding="utf-8")
        sent = "".join(_as_module(module) for module in modules)
        greet = f"import sys,types;sys.stdout.write({MAGIC!r});{sent}exec({text!r})"
        self._write(ascii(greet).encode() + b"\n")

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *error: object) -> None:
        self._transport.kill()

    def tell(self, request: object) -> None:
        """Sends a request to the script.

        Raises:
            BoardError: The board was lost.
        """
        self._write(json.dumps(request).encode() + b"\n")

    def send(self, path: Path) -> None:
        """Sends the content of a file.

        Raises:
            BoardError: The board was lost.
        """
        with path.open("rb") as file:
            for piece in iter(lambda: file.read(CHUNK_BYTES), b""):
                self._write(piece)

    def _listen(self) -> Iterator[dict[str, Any]]:
        """The script's answers; the board counts as lost when an awaited answer does not come."""
        magic = MAGIC.encode()
        heard, greeted = b"", False
        while piece := self._read(self._silence_s if greeted else START_TIMEOUT_S):
            heard += piece
            if not greeted and magic in heard:
                heard, greeted = heard.split(magic, 1)[1], True
            while greeted and b"\n" in heard:
                line, heard = heard.split(b"\n", 1)
                yield json.loads(line)
        raise self._lost("it ended")

    def _read(self, timeout_s: float) -> bytes:
        try:
            return self._transport.read(CHUNK_BYTES, timeout_s)
        except OSError as error:
            raise self._lost(error) from error

    def _write(self, data: bytes) -> None:
        try:
            self._transport.write(data, START_TIMEOUT_S)
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, cause: object) -> BoardError:
        self._transport.kill()
        words = self._transport.last_words()
        return BoardError(
            f"board '{self._name}': its Python was lost: {cause}" + (f"\n{words}" if words else ""),
            hint=f"qsdnn boards check {shlex.quote(self._name)}",
        )


def _as_module(name: str) -> str:
    """A statement that makes a module of the runtime importable."""
    room, _, file = name.rpartition(".")
    text = files(f"{RUNTIME}.{room}").joinpath(f"{file}.py").read_text(encoding="utf-8")
    whole = f"{RUNTIME}.{name}"
    made = f"sys.modules[{whole!r}]=types.ModuleType({whole!r})"
    return f"{made};exec({text!r},sys.modules[{whole!r}].__dict__);"


def local_python() -> Transport:
    """The Python of this machine, as `Script` needs it."""
    return PipeTransport([sys.executable, "-c", READER], os.environ, Path("/"))


def remote_python(name: str, address: Address) -> Transport:
    """The Python of a board, over SSH, as `Script` needs it.

    Raises:
        BoardError: The board cannot be reached.
    """
    from qsdnn_boards.ssh.channel import ChannelTransport  # this machine does without SSH
    from qsdnn_boards.ssh.client import connect

    connection = connect(name, address)
    with ExitStack() as stack:
        stack.callback(connection.close)
        channel = connection.start(remote_command(address.python))
        stack.pop_all()
    return ChannelTransport(channel, connection.close)
