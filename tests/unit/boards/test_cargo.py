"""What is sent to a board: only what it lacks, in as few round trips as can be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn.board import MeasureOptions, Reference, State
from qsdnn_boards.link import cargo, client
from qsdnn_boards.link.cargo import Item, encode, value
from qsdnn_boards.link.transport import Transport
from qsdnn_boards.local import LocalBoard
from qsdnn_runtime.server.cache import ArtifactCache

from .conftest import LOADERS

SHORT = MeasureOptions(budget_s=0.2, max_runs=10)


class Listening:
    """A transport that writes down who spoke, and what was sent."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.compress = transport.compress
        self.turns = ""
        self.sent = b""

    def read(self, size: int, timeout_s: float) -> bytes:
        self.turns += "r" * (not self.turns.endswith("r"))
        return self._transport.read(size, timeout_s)

    def write(self, data: bytes, timeout_s: float) -> None:
        self.turns += "w" * (not self.turns.endswith("w"))
        self.sent += data
        self._transport.write(data, timeout_s)

    def __getattr__(self, name: str):
        return getattr(self._transport, name)


class Overheard(LocalBoard):
    """A local board whose transport is listened to."""

    transport: Listening

    def _start(self) -> Listening:
        self.transport = Listening(super()._start())
        return self.transport

    def spoken(self, act) -> tuple[int, bytes]:
        """Round trips that something takes, and what is sent in them."""
        self.transport.turns, self.transport.sent = "", b""
        act()
        return self.transport.turns.count("wr"), self.transport.sent


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Overheard]:
    monkeypatch.setenv("QSDNN_BOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(client, "PING_EVERY_S", 1e6)
    with Overheard(python_path=[LOADERS]) as board:
        board.probe()
        yield board


def test_a_group_takes_one_round_trip_and_nothing_is_sent_twice(
    board, make_package, reference, monkeypatch
):
    packages = [make_package(name) for name in "abcde"]

    def measure(*chosen, known: Reference = reference) -> tuple[int, bytes]:
        def work() -> None:
            records = board.measure(chosen, known, SHORT)
            assert [record.state for record in records] == [State.OK] * len(chosen)

        return board.spoken(work)

    assert measure(packages[0])[0] == 2, "the board is held first"
    trips, sent = measure(*packages[:2])
    assert trips == 1
    assert b"weights of b" in sent and b"weights of a" not in sent
    assert reference.feeds["x"].tobytes() not in sent
    assert measure(*packages[:2]) == (1, sent[sent.index(b'{"op":"measure"') - 12 :])
    monkeypatch.setattr(client, "UNASKED_BYTES", 0)
    trips, sent = measure(*packages)
    assert trips == 2, "what is large, the board is asked for"
    assert all(b"weights of " + name in sent for name in (b"c", b"d", b"e"))
    other = Reference(feeds={"x": np.ones((2, 3), "f4")}, outputs={"y": np.full((2, 3), 2, "f4")})
    trips, sent = measure(*packages, known=other)
    assert trips == 1
    assert other.feeds["x"].tobytes() in sent and other.outputs["y"].tobytes() in sent


def test_what_the_board_has_from_an_earlier_session_is_not_sent(
    board, make_package, reference, monkeypatch, tmp_path
):
    monkeypatch.setattr(client, "UNASKED_BYTES", 0)
    package = make_package("a")
    assert board.measure([package], reference, SHORT)[0].state is State.OK
    board.__exit__(None, None, None)
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not any(path.read_bytes() == reference.feeds["x"].tobytes() for path in kept)
    with Overheard(python_path=[LOADERS]) as later:
        later.probe()
        trips, sent = later.spoken(lambda: later.measure([package], reference, SHORT))
    assert trips == 3 and b"weights of a" not in sent


def test_what_the_board_has_lost_meanwhile_is_sent_again(board, make_package, reference, tmp_path):
    package = make_package("a")
    assert board.measure([package], reference, SHORT)[0].state is State.OK
    shutil.rmtree(tmp_path / "cache" / "artifacts")
    (tmp_path / "cache" / "artifacts").mkdir()
    (record,) = board.measure([package], reference, SHORT)
    assert record.state is State.OK


@given(content=st.binary(max_size=3000), repeats=st.integers(1, 3), compress=st.booleans())
def test_whatever_is_sent_arrives(tmp_path_factory, content, repeats, compress):
    root = tmp_path_factory.mktemp("cache")
    path = root / "file"
    path.write_bytes(content * repeats)
    cache = ArtifactCache(root)
    patch = pytest.MonkeyPatch()
    patch.setattr(cargo, "CHUNK_BYTES", 1024)
    passing = value([content, content * (repeats - 1)])
    lasting = Item(digest=passing.digest, size_bytes=passing.size_bytes, source=path, lasting=True)
    for item in (lasting, passing):
        for header, payload in item.puts(compress=compress):
            cache.put(header, payload)
        assert cache.missing({item.digest: item.size_bytes}) == []
        assert cache.read([item.digest]) == content * repeats
    patch.undo()
    cache.close()


def test_only_what_shrinks_is_compressed():
    noise = os.urandom(1 << 20)
    assert encode(noise) == ("raw", noise)
    encoding, payload = encode(b"weights" * 100_000)
    assert encoding == "zlib" and len(payload) < 10_000
    assert encode(b"") == ("raw", b"")
