"""The console that results for people are printed to, and tables that fit its width.

Standard output and error write plainly what they cannot show, and report what is lost.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
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


HANDLER = "qsdnn.plain"
"""The name of the error handler that writes what an encoding lacks by `plain`."""

ASCII = "qsdnn-ascii"
"""ASCII under another name: click takes the name "ascii" for a mistake, and writes UTF-8."""

WRITERS = ("click", "rich")
"""The packages that print what commands say."""

SPINNER = range(0x2800, 0x2900)
"""The Braille characters, which are the frames of rich's spinner."""

PLAIN = {
    "×": "x", "·": "-", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "°": "deg ",
    "≤": "<=", "≥": ">=", "±": "+-", "²": "^2", "³": "^3", "½": "1/2", "√": "sqrt", "Σ": "sum",
    "─": "-", "━": "-", "│": "|", "┃": "|", "╸": "-", "╺": "-", "‘": "'", "’": "'", "“": '"',
    "”": '"', "\N{NO-BREAK SPACE}": " ",
}  # fmt: skip


def plain(text: str) -> str:
    """A text in ASCII: symbols become what resembles them, anything else as Python escapes it."""
    return "".join(
        PLAIN.get(c)
        or ("*" if ord(c) in SPINNER else c.encode("ascii", "backslashreplace").decode())
        for c in text
    )


def prepare_streams() -> None:
    """Makes sure that no character that a terminal's encoding lacks ends the program."""
    codecs.register_error(HANDLER, _write_plainly)
    codecs.register(_find)
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue  # closed, or somebody's own
        if codecs.lookup(stream.encoding).name == "ascii":
            stream.reconfigure(encoding=ASCII, errors=HANDLER)
        elif stream.errors in ("strict", "backslashreplace"):
            stream.reconfigure(errors=HANDLER)


def is_of_output(error: BaseException) -> bool:
    """Whether an error came up in writing what a command prints."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    return where == __name__ or where.partition(".")[0] in WRITERS


def flush_output() -> None:
    """Writes the output that is still to be written.

    Raises:
        OSError: The output cannot be written.
    """
    if sys.stdout is not None:
        sys.stdout.flush()


def drop_output() -> None:
    """Lets go of standard output that cannot be written, which would fail again at the end."""
    try:
        flush_output()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def _write_plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end


def _find(name: str) -> codecs.CodecInfo | None:
    if name.replace("_", "-") != ASCII:
        return None
    found = codecs.lookup("ascii")
    return codecs.CodecInfo(
        found.encode,
        found.decode,
        incrementalencoder=found.incrementalencoder,
        incrementaldecoder=found.incrementaldecoder,
        name=ASCII,
    )
