"""The console that results for people are printed to, and tables that fit its width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_WIDTH = 10_000
"""The width of a pipe: where there is no terminal to fit, nothing is folded or left out."""

FOLDED_WIDTH = 12
"""The characters that a column which may be folded keeps at the least."""

BORDER, PADDING = 1, 3
"""The characters of the border of a table, and of the padding of each of its columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        heading: The text above the column.
        right: Whether the column is of numbers, which are set to the right.
        folds: Whether the column's cells may go over several lines.
        spare: How soon the column is left out where not all fit: the largest first, 0 never.
    """

    heading: str
    right: bool = False
    folds: bool = False
    spare: int = 0


def count(number: int, noun: str) -> str:
    """A number and its noun: ``1 layer``, ``2 layers``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def stdout_console() -> Console:
    """The console on stdout, as wide as the terminal, or as any table when there is no terminal."""
    from rich.console import Console  # --help does without it

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def print_table(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    total: Sequence[str] = (),
    all_of_it: str = "--json",
) -> None:
    """Prints a table, without the least important columns where the terminal is too narrow.

    Args:
        title: The title above the table; none when empty.
        columns: The columns of the table.
        rows: The texts of each row, of as many cells as columns.
        total: The last row, under a line of its own; none when empty.
        all_of_it: The options that write what does not fit, for the line that says so.
    """
    console = stdout_console()
    kept = fitting(columns, [*rows, *([total] if total else [])], console.width)
    console.print(_table(title, columns, rows, total, kept))
    missing = [column.heading for i, column in enumerate(columns) if i not in kept]
    if missing:
        console.print(
            f"{count(len(missing), 'column')} {'does' if len(missing) == 1 else 'do'} not fit in "
            f"{console.width} characters: {', '.join(missing)}. A wider terminal, a pipe and "
            f"{all_of_it} show all.",
            markup=False,
        )


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns of a table, by index, that fit in a width in characters."""
    needs = [_need(column, [row[i] for row in rows]) for i, column in enumerate(columns)]
    kept = list(range(len(columns)))
    spare = sorted((i for i in kept if columns[i].spare), key=lambda i: -columns[i].spare)
    while spare and BORDER + sum(needs[i] + PADDING for i in kept) > width:
        kept.remove(spare.pop(0))
    return kept


def _need(column: Column, cells: Iterable[str]) -> int:
    """The number of characters that a column takes at the least."""
    from rich.cells import cell_len

    lines = (line for cell in (column.heading, *cells) for line in cell.split("\n"))
    natural = max(map(cell_len, lines), default=0)
    return min(natural, FOLDED_WIDTH) if column.folds else natural


def _table(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    total: Sequence[str],
    kept: Sequence[int],
) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title) or None, header_style="bold")
    for column in (columns[i] for i in kept):
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=not column.folds,
        )
    for row in rows:
        table.add_row(*(escape(row[i]) for i in kept))
    if total:
        table.add_section()
        table.add_row(*(escape(total[i]) for i in kept))
    return table
