"""Files that a command writes at its end."""

from __future__ import annotations

from pathlib import Path

from qsdnn.errors import InputError


def check_writable(output: Path) -> None:
    """Makes sure of it before hours of measuring rather than after.

    Raises:
        InputError: The file cannot be written.
    """
    folder = output.resolve().parent
    if not folder.is_dir() or output.is_dir():
        raise InputError(f"cannot write {output}: no such folder", hint=f"mkdir -p {folder}")
    try:
        with output.open("a", encoding="utf-8"):
            pass
        if not output.stat().st_size:
            output.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write {output}: {error.strerror}", hint="choose another -o"
        ) from error
