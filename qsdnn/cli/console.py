"""Where results for people are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Wide enough for every table, where there is no terminal to fit.
PIPE_WIDTH = 200


def stdout_console() -> Console:
    """A console on stdout, as wide as the terminal, or as any table when there is none."""
    from rich.console import Console  # --help does without it

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console
