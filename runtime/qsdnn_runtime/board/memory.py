"""Memory of this process: huge pages for what engines keep, and the rest given back.

A processor remembers where some thousand pages lie. Pages of 4 KiB then hold 8 MB of weights, and
looking up other pages takes time, which depends on where these happen to lie: of equal sessions in
one process, the one loaded first was 6 % slower (resnet18 in ncnn). Linux joins pages into huge
ones where it is asked to.

Engines read weights, rearrange them, and free what they read: the C library keeps some of that
memory for later. Other engines leave the file of weights mapped, though they never read it again;
the pages of the file count as this process's, though the system can take them back.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from contextlib import contextmanager
from typing import Iterator, List, Optional, Sequence, Tuple

import numpy as np

MAPS = "/proc/self/maps"
HUGE_BYTES = 2 << 20  # on x86, and on ARM with pages of 4 KiB
LEAST_BYTES = HUGE_BYTES // 2  # arranged anew by an engine, that much may fill a huge page
# Advice from linux/mman.h. The first lets the kernel join pages when it comes to it, the second,
# since 6.1, has the kernel join them at once.
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25
# The share of a mapping that must be in use: a thread's stack is mostly unused, and would be filled
# up.
IN_USE = 0.5
RESERVED_BYTES = 64 << 30  # who takes so much at once has reserved addresses, not memory

Range = Tuple[int, int]
"""First address, and the one after the last."""

MADV_DONTNEED = 4  # linux/mman.h

LIBRARY = ctypes.CDLL(None)
Address, Size = ctypes.c_void_p, ctypes.c_size_t


@contextmanager
def joined_pages(expected_bytes: int = LEAST_BYTES) -> Iterator[None]:
    """Joins the pages of memory that was taken in the context, where the system can do so.

    Args:
        expected_bytes: The size of what is to be kept. Little is left as it is: to look through a
            process's memory takes some milliseconds.
    """
    if expected_bytes < LEAST_BYTES:
        yield
        return
    before = in_use()
    yield
    for start, end in without(list(_anonymous()), before):
        if _whole(start, end) and _is_in_use(start, end):
            join(start, end)


def in_use() -> List[Range]:
    """The large parts of this process's memory that are in no file and mostly in use, ascending.

    A part is large where a huge page fits. None is found where the system does not tell.
    """
    return [part for part in _anonymous() if _is_in_use(*part)]


def _anonymous() -> Iterator[Range]:
    """The large mappings that are private, writable, and in no file."""
    for line in _lines():
        if b" rw-p " in line:
            words = _words(line)
            start, end = _range_of(words)
            if words[4] == "0" and _whole(start, end) and end - start < RESERVED_BYTES:
                yield start, end


def _is_in_use(start: int, end: int) -> bool:
    """Whether the kernel holds most pages of a mapping."""
    pages = (end - start) // mmap.PAGESIZE
    held = np.empty(pages, np.uint8)
    if LIBRARY.mincore(Address(start), Size(end - start), Address(held.ctypes.data)):
        return False
    return int(np.count_nonzero(held & 1)) >= IN_USE * pages


def without(ranges: List[Range], taken: List[Range]) -> List[Range]:
    """The parts of ranges that no other range covers; both ascend."""
    found = []
    for start, end in ranges:
        for low, high in taken:
            if low < end and start < high:
                if start < low:
                    found.append((start, low))
                start = max(start, high)
        if start < end:
            found.append((start, end))
    return found


def join(start: int, end: int) -> None:
    """Asks the kernel for huge pages in the part of a range where whole ones fit."""
    whole = _whole(start, end)
    if whole is None:
        return
    first, last = whole
    advise = LIBRARY.madvise
    if advise(Address(first), Size(last - first), MADV_HUGEPAGE):
        return
    for page in range(first, last, HUGE_BYTES):
        advise(Address(page), Size(HUGE_BYTES), MADV_COLLAPSE)


def _whole(start: int, end: int) -> Optional[Range]:
    """The part of a range where whole huge pages fit; None where no such page does."""
    first, last = -(-start // HUGE_BYTES) * HUGE_BYTES, end // HUGE_BYTES * HUGE_BYTES
    return (first, last) if first < last else None


def give_back(files: Sequence[str] = ()) -> None:
    """Gives back free memory, and pages of files; does nothing where the system has no way to.

    Args:
        files: The files whose pages are given back; they are read again, from the system's cache or
            the disk, when they are needed. Allowed only where no other thread takes or frees memory
            meanwhile: what such a thread put in a file's place would be lost.
    """
    if hasattr(LIBRARY, "malloc_trim"):  # glibc has it
        LIBRARY.malloc_trim(Size(0))
    for start, end in _mapped(files) if files else ():
        LIBRARY.madvise(Address(start), Size(end - start), MADV_DONTNEED)


def _mapped(files: Sequence[str]) -> Iterator[Tuple[int, int]]:
    """The address ranges where files are mapped read-only: first address, and the one behind."""
    wanted = {os.path.realpath(file) for file in files}
    mappings = [_words(line) for line in _lines()]
    # A library's read-only data was written when it was loaded: its file does not have it so.
    libraries = {words[5] for words in mappings if len(words) == 6 and "x" in words[1]}
    for words in mappings:
        if len(words) == 6 and words[5] in wanted - libraries and words[1].startswith("r-"):
            yield _range_of(words)


def _lines() -> List[bytes]:
    """This process's mappings as the system lists them."""
    try:
        with open(MAPS, "rb") as stream:
            return stream.read().splitlines()
    except OSError:
        return []


def _words(line: bytes) -> List[str]:
    """What the system says of a mapping: addresses, rights, …, file if any."""
    return os.fsdecode(line).split(None, 5)


def _range_of(words: List[str]) -> Range:
    start, _, end = words[0].partition("-")
    return int(start, 16), int(end, 16)
