"""Huge pages: what is asked for, where, and that nothing else changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn_runtime.board import pages
from qsdnn_runtime.board.pages import in_use, joined_pages, without

THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")
SIZE = 32 * pages.HUGE_BYTES


@st.composite
def ascending(draw):
    ends = sorted(draw(st.sets(st.integers(0, 60), max_size=12)))
    return list(zip(ends[::2], ends[1::2], strict=False))


def covered(ranges):
    return {address for start, end in ranges for address in range(start, end)}


@given(ascending(), ascending())
def test_what_was_there_before_is_left_out(ranges, taken):
    left = without(ranges, taken)
    assert covered(left) == covered(ranges) - covered(taken)
    assert all(start < end for start, end in left)


def test_new_memory_is_found():
    """In a new process: in an old one the kernel may see it as one with much that is not used."""
    code = f"""
import numpy as np
from qsdnn_runtime.board.pages import in_use, without
before = in_use()
full = np.ones({SIZE}, np.uint8)
middle = full.ctypes.data + full.nbytes // 2
assert any(start <= middle < end for start, end in without(in_use(), before))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_memory_that_is_hardly_used_is_left_alone():
    """Much of it, for the kernel sees neighbouring mappings as one."""
    before = in_use()
    empty = np.empty(64 * SIZE, np.uint8)
    assert not any(holds(part, empty) for part in without(in_use(), before))


def holds(part, array):
    middle = array.ctypes.data + array.nbytes // 2
    return part[0] <= middle < part[1]


@pytest.mark.skipif(
    not THP.exists() or "[never]" in THP.read_text(), reason="this kernel gives no huge pages"
)
def test_pages_are_joined_and_keep_their_content():
    before = huge_bytes()
    with joined_pages():
        # A file's content read into memory, as weights are: numpy asks by itself.
        content = bytearray(SIZE)
        content[::4096] = b"\7" * (SIZE // 4096)
    if not huge_bytes() > before:
        pytest.skip("the kernel joins pages in its own time (before Linux 6.1)")
    assert huge_bytes() - before > SIZE / 2
    assert content[::4096] == b"\7" * (SIZE // 4096) and content[1] == 0


def huge_bytes():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))


def test_where_the_system_does_not_tell_nothing_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "SMAPS", str(tmp_path / "absent"))
    monkeypatch.setattr(pages, "join", lambda *_: pytest.fail("nothing is known to be new"))
    with joined_pages():
        content = bytearray(SIZE)
    assert len(content) == SIZE and in_use() == []
