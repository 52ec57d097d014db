"""Files mapped into memory: large weights are read where they are needed, and then given back."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """The content of a file, mapped into memory where that can be: only what is looked at is read.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        try:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (ValueError, OSError):  # an empty file, or none that has a size
            view = memoryview(file.read())
        yield view


CHUNK_BYTES = 1 << 24


def chunks(content: bytes | memoryview) -> Iterator[memoryview]:
    """A content bit by bit; what is mapped from a file is given back once the next bit is due."""
    view = memoryview(content)
    for start in range(0, len(view), CHUNK_BYTES):
        yield view[start : start + CHUNK_BYTES]
        forget(view)


def forget(content: Any) -> None:
    """Gives back the memory of what is mapped from a file; it is read again where it is needed.

    Args:
        content: An array or a buffer; nothing is done where it is not mapped.
    """
    base = content
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
