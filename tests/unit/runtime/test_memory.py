"""What loading leaves behind is given back."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from qsdnn_runtime.board import memory
from qsdnn_runtime.board.memory import give_back

SIZE = 64 << 20


def size_bytes(kind):
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(kind + ":"))


def test_pages_of_a_file_are_given_back_and_read_again(tmp_path):
    path, other = tmp_path / "weights", tmp_path / "other"
    content = np.arange(SIZE // 8)
    for file in (path, other):
        content.tofile(file)
    mapped = [_mapped(file) for file in (path, other)]
    assert all(array.sum() == content.sum() for array in mapped)  # reads every page
    before = size_bytes("RssFile")
    give_back([str(path)])
    freed = before - size_bytes("RssFile")
    assert SIZE / 2 < freed < 3 * SIZE / 2  # of one, not of both
    assert np.array_equal(mapped[0], content)


def test_pages_that_may_have_been_written_are_kept(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(mmap.PAGESIZE))
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    mapped[0] = 7
    give_back([str(path)])
    assert mapped[0] == 7


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
