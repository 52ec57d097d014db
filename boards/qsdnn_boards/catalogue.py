"""Finds boards reached over SSH: those of the address book, and those named by their address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qsdnn.errors import InputError

from .addresses import AddressBook
from .spec.spec import GENERIC, specs
from .ssh.address import parse_address

if TYPE_CHECKING:
    from .ssh.board import SshBoard


class NamedFinder:
    """Finds boards by their names in the user's address book; such boards are reached over SSH."""

    def names(self) -> Sequence[str]:
        """See `qsdnn.board.BoardFinder.names`; known kinds without an address are included.

        Those kinds are listed for users who misspell one: `find` then says how to give the board an
        address.
        """
        kinds = [name for name in specs() if name != GENERIC]
        return tuple(dict.fromkeys([*AddressBook().entries(), *kinds]))

    def find(self, name: str) -> SshBoard | None:
        """See `qsdnn.board.BoardFinder.find`."""
        entry = AddressBook().entries().get(name)
        if entry is not None:
            from .ssh.board import SshBoard  # `boards list` does without SSH

            return SshBoard(name, entry.address, specs()[entry.spec])
        if name in specs():
            raise InputError(
                f"board '{name}' has no address yet",
                hint=f"say where it is: qsdnn boards add {name} --host ADDRESS",
            )
        return None


class AddressFinder:
    """Finds boards named ``user@host[:port]``."""

    def names(self) -> Sequence[str]:
        """See `qsdnn.board.BoardFinder.names`: there is no list of all machines."""
        return ()

    def find(self, name: str) -> SshBoard | None:
        """See `qsdnn.board.BoardFinder.find`."""
        if "@" not in name:
            return None
        from .ssh.board import SshBoard  # other boards do without SSH

        return SshBoard(name, parse_address(name))


FINDER = NamedFinder()
ADDRESS_FINDER = AddressFinder()
