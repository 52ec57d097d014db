"""A board reached over SSH, and the start of its measuring server, where none of our files is."""

from __future__ import annotations

import shlex
import zlib
from contextlib import ExitStack, suppress
from importlib.resources import files
from typing import Any

from qsdnn.errors import BoardError, BoardLostError
from qsdnn.plan.package import runtime_archive
from qsdnn_boards.link.board import ServedBoard
from qsdnn_boards.link.bootstrap import MAGIC
from qsdnn_boards.link.transport import Transport
from qsdnn_boards.local import KEPT_VARIABLES
from qsdnn_boards.spec.spec import Spec
from qsdnn_runtime.board.process import Process
from qsdnn_runtime.frames import FrameError, read_frame, write_frame

from .address import Address
from .channel import ChannelTransport
from .client import Connection, connect

# The time that Python itself may take to start from a slow SD card.
START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 20.0
NOISE_LIMIT_BYTES = 1 << 16
TOO_OLD = 98
# The exit statuses of a shell that finds no command of the name, or none that it may run.
NO_COMMAND = (126, 127)
# A program that runs the first line of standard input, and reads nothing beyond that line.
READER = (
    "import sys;"
    f"sys.version_info<(3,8)and(sys.stderr.write(sys.version.split()[0]),sys.exit({TOO_OLD}));"
    'exec(eval(open(0,"rb",0,closefd=False).readline()))'
)


class SshBoard(ServedBoard):
    """Measures on a machine reached over SSH; nothing listens there, and nothing is installed.

    The runtime and the artifacts are kept on that machine, in ``~/.cache/qsdnn/board``, or where
    the machine's environment variable ``QSDNN_BOARD_CACHE`` says.

    Args:
        name: The user's name for the board.
        address: The board's address; ``~/.ssh/config`` completes it.
        spec: The kind of board; any machine with Linux when None.
    """

    performs = True

    def __init__(self, name: str, address: Address, spec: Spec | None = None) -> None:
        super().__init__(name, spec)
        self._address = address

    def _start(self) -> Transport:
        connection = connect(self.name, self._address)
        with ExitStack() as stack:
            stack.callback(connection.close)
            transport = launch(self.name, connection)
            stack.pop_all()
        return transport


def launch(name: str, connection: Connection) -> ChannelTransport:
    """Starts a measuring server; sends the runtime when the board does not have it.

    Args:
        name: The board's name, for messages.
        connection: The connection to the board; it belongs to the transport after the call.

    Raises:
        BoardError: The board cannot run the measuring server.
    """
    python = connection.endpoint.address.python
    transport = ChannelTransport(connection.start(remote_command(python)), connection.close)
    try:
        agent = _converse(name, transport)
    except (OSError, FrameError) as error:
        raise _not_started(name, python, transport, error) from error
    transport.end_by_force = lambda: _end(connection, agent)
    return transport


def remote_command(python: str) -> str:
    """The whole command line for a shell on the board; `Address` has checked the Python's name."""
    # A shell replaces no "~" in quotes, so "~/" stays outside them.
    home = "~/" if python.startswith("~/") else ""
    return f"exec {home}{shlex.quote(python[len(home) :])} -c {shlex.quote(READER)}"


def _end(connection: Connection, agent: Process) -> None:
    """Ends a measuring server that does not end by itself, e.g. because it is stopped."""
    channel = connection.start(remote_command(connection.endpoint.address.python))
    text = files("qsdnn_runtime.board").joinpath("process.py").read_text(encoding="utf-8")
    text += f"\nProcess({agent.pid}, {agent.started}).end()\n"
    channel.sendall(ascii(text).encode() + b"\n")
    channel.status_event.wait(END_TIMEOUT_S)


def _converse(name: str, transport: ChannelTransport) -> Process:
    """Has the measuring server started; returns its process on the board."""

    def write(data: bytes) -> None:
        transport.write(data, START_TIMEOUT_S)

    archive = runtime_archive()
    text = files("qsdnn_boards.link").joinpath("bootstrap.py").read_text(encoding="utf-8")
    wanted = {"digest": archive.digest, "size_bytes": len(archive.content)}
    with suppress(ConnectionError):  # the bootstrap has ended: what it said tells why
        write(ascii(text).encode() + b"\n")
        write_frame(write, {**wanted, "variables": KEPT_VARIABLES})
    _skip_noise(transport)
    answer = _answer(name, transport)
    if answer["state"] == "send":
        write_frame(write, {}, [zlib.compress(archive.content)])
        answer = _answer(name, transport)
    return Process(int(answer["pid"]), int(answer["started"]))


def _skip_noise(transport: ChannelTransport) -> None:
    """Passes over what login scripts print before the bootstrap's first byte."""
    heard = b""
    while not heard.endswith(MAGIC):
        piece = transport.read(1, START_TIMEOUT_S)
        heard += piece
        if not piece or len(heard) > NOISE_LIMIT_BYTES:
            said = heard.decode(errors="replace").strip()
            raise FrameError(f"it said: {said[-500:]}" if said else "it ended at once")


def _answer(name: str, transport: ChannelTransport) -> dict[str, Any]:
    frame = read_frame(lambda size: transport.read(size, START_TIMEOUT_S))
    if frame is None:
        raise FrameError("it ended at once")
    if frame.header["state"] == "error":
        raise _refusal(name, frame.header["error"], frame.header["message"])
    return frame.header


def _refusal(name: str, error: str, message: str) -> BoardError:
    if error == "numpy":
        return BoardError(
            f"board '{name}': its Python has no numpy: {message}",
            hint=f"install it there: qsdnn boards setup {shlex.quote(name)}",
        )
    what = {
        "disk": "the disk is full",
        "cache": "its cache folder cannot be used",
        "runtime": "the runtime could not be sent",
    }
    return BoardError(
        f"board '{name}': {what[error]}: {message}",
        hint="free some space there, or set QSDNN_BOARD_CACHE there to another folder",
    )


def _not_started(
    name: str, python: str, transport: ChannelTransport, error: Exception
) -> BoardError:
    status = transport.exit_status(timeout_s=5.0)
    words = transport.last_words()
    if status in NO_COMMAND:
        return BoardError(
            f"board '{name}' has no '{python}': {words}",
            hint="install Python 3.8 or newer there, e.g.: sudo apt-get install python3",
        )
    if status == TOO_OLD:
        return BoardError(
            f"board '{name}': '{python}' is Python {words}; 3.8 or newer is needed",
            hint="install a newer one there, and say which: qsdnn boards add … --python PATH",
        )
    # A command that ends by itself has an exit status; without one it was cut off, or killed.
    kind = BoardLostError if status is None else BoardError
    return kind(f"board '{name}': the measuring server cannot be started: {error}\n{words}".strip())
