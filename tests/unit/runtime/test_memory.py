"""Memory: where huge pages are asked for, and that what loading leaves behind is given back."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn_runtime.board import memory
from qsdnn_runtime.board.memory import give_back, in_use, joined_pages, without

THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PAGES_BYTES = 32 * memory.HUGE_BYTES
LEFT_BYTES = 64 << 20


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
from qsdnn_runtime.board.memory import in_use, without
before = in_use()
full = np.ones({PAGES_BYTES}, np.uint8)
middle = full.ctypes.data + full.nbytes // 2
assert any(start <= middle < end for start, end in without(in_use(), before))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_memory_that_is_hardly_used_is_left_alone():
    """Much of it, for the kernel sees neighbouring mappings as one."""
    before = in_use()
    empty = np.empty(64 * PAGES_BYTES, np.uint8)
    assert not any(holds(part, empty) for part in without(in_use(), before))


def holds(part, array):
    middle = array.ctypes.data + array.nbytes // 2
    return part[0] <= middle < part[1]


@pytest.mark.skipif(
    not THP.exists() or "[never]" in THP.read_text(), reason="this kernel gives no huge memory"
)
def test_pages_are_joined_and_keep_their_content():
    before = huge_bytes()
    with joined_pages():
        # A file's content read into memory, as weights are: numpy asks by itself.
        content = bytearray(PAGES_BYTES)
        content[::4096] = b"\7" * (PAGES_BYTES // 4096)
    if not huge_bytes() > before:
        pytest.skip("the kernel joins memory in its own time (before Linux 6.1)")
    # How many depends on whole huge pages being free, on a busy machine few.
    assert huge_bytes() - before >= 2 * memory.HUGE_BYTES
    assert content[::4096] == b"\7" * (PAGES_BYTES // 4096) and content[1] == 0


def huge_bytes():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))


def test_where_the_system_does_not_tell_nothing_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "MAPS", str(tmp_path / "absent"))
    monkeypatch.setattr(memory, "join", lambda *_: pytest.fail("nothing is known to be new"))
    with joined_pages():
        content = bytearray(PAGES_BYTES)
    assert len(content) == PAGES_BYTES and in_use() == []


def size_bytes(kind):
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(kind + ":"))


def test_pages_of_a_file_are_given_back_and_read_again(tmp_path):
    path, other = tmp_path / "weights", tmp_path / "other"
    content = np.arange(LEFT_BYTES // 8)
    for file in (path, other):
        content.tofile(file)
    mapped = [_mapped(file) for file in (path, other)]
    assert all(array.sum() == content.sum() for array in mapped)  # reads every page
    before = size_bytes("RssFile")
    give_back([str(path)])
    freed = before - size_bytes("RssFile")
    assert LEFT_BYTES / 2 < freed < 3 * LEFT_BYTES / 2  # of one, not of both
    assert np.array_equal(mapped[0], content)


def test_pages_that_may_have_been_written_are_kept(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(mmap.PAGESIZE))
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    mapped[0] = 7
    give_back([str(path)])
    assert mapped[0] == 7


def test_a_library_s_own_data_is_kept():
    """What a loader wrote into a library's read-only data is not in its file."""
    code = """
import _json, ctypes, json
from qsdnn_runtime.board.memory import give_back
give_back([_json.__file__])
assert json.loads(json.dumps({"a": [1.5]})) == {"a": [1.5]}
assert _json.encode_basestring_ascii("x") == '"x"'
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_free_memory_is_given_back():
    """In a new process, whose heap nothing else has cut up."""
    code = """
from qsdnn_runtime.board.memory import give_back
from tests.unit.runtime.test_memory import size_bytes
held = [number.to_bytes(2, 'big') * 50_000 for number in range(600)]
last = b'last' * 25_000  # the heap cannot shrink below it
before = size_bytes("RssAnon")
del held
give_back()
assert before - size_bytes("RssAnon") > 50e6
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_where_the_system_has_no_way_nothing_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "MAPS", str(tmp_path / "absent"))
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: SimpleNamespace())
    give_back([str(tmp_path / "weights")])


def _mapped(path):
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.int64)
