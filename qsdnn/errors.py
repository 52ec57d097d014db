"""The one tree of errors. A message says what went wrong, where, and the next command to type."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

NEAR = 0.7
"""The likeness of a name to what was meant, at the least: "explain" is 0.62 to "replay"."""


class QsdnnError(Exception):
    """An error that the user can act on; `exit_code` is what the command ends with.

    Args:
        message: The text of what went wrong, and where.
        hint: The hint what to do next, ideally a command to type.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class InputError(QsdnnError):
    """The command line, or a file the user gave, is not usable."""

    exit_code = 2


class ModelError(InputError):
    """The network cannot be read, or something must be said about it first, e.g. a shape."""


class UnsupportedLayerError(InputError):
    """An engine that was to run the whole network alone cannot run one of its layers."""


class PlanError(InputError):
    """A plan or a package is malformed, or does not fit the model."""


class StoreError(InputError):
    """The database of measurements cannot be opened or written."""


class BoardError(QsdnnError):
    """The board cannot be reached, or was lost."""

    exit_code = 3


class RunError(BoardError):
    """A package failed in running on a board; the board is as well as before."""

    exit_code = 1


class BoardLostError(BoardError):
    """The board, or the connection to it, is gone; it may come back."""


class InfeasibleError(QsdnnError):
    """No plan meets the constraints."""

    exit_code = 4


class VerificationError(QsdnnError):
    """A plan's outputs, or what its engines report they executed, are not as asked."""

    exit_code = 5


class BuildError(QsdnnError):
    """A segment could not be turned into an engine's artifact."""


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """An error for a name that is not registered, with the nearest known ones.

    Args:
        what: The kind of thing, e.g. ``"engine"``.
        name: The name that the user wrote.
        known: The names that are known.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=NEAR)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return InputError(f"unknown {what} '{name}'", hint=f"{hint}known: {', '.join(names)}")
