"""Finds boards that are named by their address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .address import parse_address

if TYPE_CHECKING:
    from .board import SshBoard


class AddressFinder:
    """Finds boards named ``user@host[:port]``."""

    def names(self) -> Sequence[str]:
        """See `qsdnn.board.BoardFinder.names`: there is no list of all machines."""
        return ()

    def find(self, name: str) -> SshBoard | None:
        """See `qsdnn.board.BoardFinder.find`."""
        if "@" not in name:
            return None
        from .board import SshBoard  # other boards do without SSH

        return SshBoard(name, parse_address(name))


FINDER = AddressFinder()
