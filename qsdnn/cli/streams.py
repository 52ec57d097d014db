"""Standard output and error, which write plainly what they cannot show and report what is lost."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys

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
