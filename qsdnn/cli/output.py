"""The files that a command writes at its end."""

from __future__ import annotations

from pathlib import Path

from qsdnn.files import check_place, naming


def check_writable(output: Path) -> None:
    """Makes sure that a file can be written, before hours of measuring rather than after.

    Raises:
        InputError: The file cannot be written.
    """
    with naming(output):
        check_place(output)
