"""The store: what is put is found again, also by another process, also after a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qsdnn.board import Applied, Record, State, Trust
from qsdnn.errors import StoreError
from qsdnn.store import Key, Store

KEY = Key(board="b", engines={"blas": "1", "openvino": "2"}, threads=1, package="p", purpose="plan")
RECORD = Record(
    state=State.OK,
    runs_ms=(1.0, 1.5, 1.25),
    segments_ms=((0.5, 0.5), (0.75, 0.75), (0.5, 0.75)),
    ci95_ms=(1.0, 1.5),
    load_ms=3.0,
    layers_ms={0: 0.5, 1: 0.5},
    applied={0: Applied(primitive="blas/im2col/fp32", kernel="sgemm")},
    max_error=1e-7,
    trust=Trust.NOISY,
    context={"anchors_ms": {"digest": 1.0}},
)


def test_put_and_get(tmp_path):
    with Store(str(tmp_path / "s.db")) as store:
        assert store.get(KEY) is None
        store.put(KEY, RECORD)
        assert store.get(KEY) == RECORD
    with Store(f"sqlite:///{tmp_path}/s.db") as again:
        assert again.get(KEY) == RECORD


def test_any_difference_is_another_key(tmp_path):
    other = {
        "board": "c", "engines": {"blas": "1"}, "threads": 2, "package": "q", "purpose": "final",
    }  # fmt: skip
    base = {"board": "b", "engines": KEY.engines, "threads": 1, "package": "p", "purpose": "plan"}
    with Store(str(tmp_path / "s.db")) as store:
        store.put(KEY, RECORD)
        for name, value in other.items():
            assert store.get(Key(**base | {name: value})) is None, name


def test_what_was_put_survives_a_kill(tmp_path):
    script = (
        "import sys; from qsdnn.store import Store; sys.path.insert(0, sys.argv[2])\n"
        "from test_store import KEY, RECORD\n"
        "Store(sys.argv[1]).put(KEY, RECORD); print('put', flush=True); sys.stdin.read()"
    )
    path = str(tmp_path / "s.db")
    with subprocess.Popen(
        [sys.executable, "-c", script, path, str(Path(__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"put\n"
        os.kill(writer.pid, signal.SIGKILL)
    with Store(path) as store:
        assert store.get(KEY) == RECORD


def test_a_store_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "text.db").write_text("not a database, but long enough to look at " * 9)
    (tmp_path / "file").write_text("")
    for url in (tmp_path / "text.db", tmp_path / "file" / "s.db", "mysql://x/y"):
        with pytest.raises(StoreError, match="cannot"):
            Store(str(url))
