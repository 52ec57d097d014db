"""The store: what is put is found again, also by another process, also after a kill."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from qsdnn.accuracy.loss import Loss
from qsdnn.board import Applied, Record, State, Trust
from qsdnn.errors import StoreError
from qsdnn.store import Key, Store, Term, record_from_json, record_to_json

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
    trust=Trust.DISTURBED,
    disturbed=(1,),
    context={"anchors_ms": {"digest": 1.0}},
)


def test_put_and_get(tmp_path):
    with Store(str(tmp_path / "s.db")) as store:
        assert store.get(KEY) is None
        store.put(KEY, RECORD)
        assert store.get(KEY) == RECORD
    with Store(f"sqlite:///{tmp_path}/s.db") as again:
        assert again.get(KEY) == RECORD


def test_a_record_of_before_disturbance_was_known_is_read():
    old = json.loads(record_to_json(RECORD))
    del old["disturbed"]
    assert record_from_json(json.dumps(old)) == replace(RECORD, disturbed=())


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


TERM = Term(
    board="b", cpu="c", engine="blas", version="1", threads=1, network="n", what="layer",
    name="blas/im2col/fp32", detail="s", value=1.5, spread=0.1,
)  # fmt: skip


def test_terms_are_found_by_processor_and_threads(tmp_path):
    with Store(str(tmp_path / "s.db")) as store:
        store.put_terms([TERM, replace(TERM, detail="t"), replace(TERM, threads=2)])
        store.put_terms([replace(TERM, value=2.0)])  # learned again
        assert store.terms("c", 1) == [replace(TERM, detail="t"), replace(TERM, value=2.0)]
        assert store.terms("d", 1) == []


def test_a_store_of_the_first_version_keeps_what_it_has(tmp_path):
    path = tmp_path / "s.db"
    with Store(str(path)) as store:
        store.put(KEY, RECORD)
    with sqlite3.connect(path) as database:  # as it was before there were terms
        database.execute("DROP TABLE terms")
        database.execute("PRAGMA user_version = 0")
    database.close()
    with Store(str(path)) as store:
        assert store.get(KEY) == RECORD
        store.put_terms([TERM])
        assert store.terms("c", 1) == [TERM]


def test_a_store_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "s.db"
    Store(str(path)).__exit__(None, None, None)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="newer"):
        Store(str(path))


def test_an_accuracy_is_kept_and_replaced(tmp_path):
    url = str(tmp_path / "store.db")
    first = Loss(metric="top1", reference=0.97, plan=0.5, drop=0.47, sqnr_db=12.5, samples=899)
    second = replace(first, plan=0.97, drop=0.0, sqnr_db=-200.0)
    with Store(url) as store:
        assert store.get_loss(KEY) is None
        for loss in (first, second):
            store.put_loss(KEY, loss)
            assert store.get_loss(KEY) == loss
        assert store.get(KEY) is None
    with Store(url) as store:
        assert store.get_loss(KEY) == second
        assert store.get_loss(replace(KEY, purpose="other data")) is None
