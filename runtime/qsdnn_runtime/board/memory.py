"""Gives memory that loading a network leaves behind back to the system.

Engines read weights, rearrange them, and free what they read: the C library keeps some of that
memory for later. Other engines leave the file of weights mapped, though they never read it again;
the pages of the file count as this process's, though the system can take them back.
"""

from __future__ import annotations

import ctypes
import os
from typing import Iterator, Sequence, Tuple

MAPS = "/proc/self/maps"
MADV_DONTNEED = 4  # linux/mman.h


def give_back(files: Sequence[str] = ()) -> None:
    """Gives back free memory, and pages of files; does nothing where the system has no way to.

    Args:
        files: The files whose pages are given back; they are read again, from the system's cache or
            the disk, when they are needed. Allowed only where no other thread takes or frees memory
            meanwhile: what such a thread put in a file's place would be lost.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):  # glibc has it
        library.malloc_trim(ctypes.c_size_t(0))
    for start, end in _mapped(files) if files else ():
        library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTNEED)


def _mapped(files: Sequence[str]) -> Iterator[Tuple[int, int]]:
    """The address ranges where files are mapped read-only: first address, and the one behind."""
    wanted = {os.path.realpath(file) for file in files}
    try:
        with open(MAPS, encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.readlines()
    except OSError:
        return
    for line in lines:
        words = line.rstrip("\n").split(None, 5)
        if len(words) == 6 and words[5] in wanted and words[1].startswith("r-"):
            start, _, end = words[0].partition("-")
            yield int(start, 16), int(end, 16)
