"""A board reached over SSH."""

from __future__ import annotations

from contextlib import ExitStack

from qsdnn_boards.link.board import ServedBoard
from qsdnn_boards.link.transport import Transport
from qsdnn_boards.spec.spec import Spec

from .address import Address
from .client import connect
from .launch import launch


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
