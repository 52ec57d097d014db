"""A board behind a real OpenSSH server, a home folder for its user, and something to measure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qsdnn.board import Package, Reference
from qsdnn.engine import load_engines
from qsdnn.examples import build
from qsdnn.model import load_graph
from qsdnn.model.feeds import random_feeds
from qsdnn.plan.build import Builder
from qsdnn_boards.local import LocalBoard
from qsdnn_boards.ssh import client as ssh_client
from qsdnn_boards.ssh.address import Address
from qsdnn_boards.ssh.board import SshBoard
from qsdnn_boards.ssh.client import accept_host_key

from .server import Server, find_sshd, wait_until


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if find_sshd() is None:
        pytest.skip("NOT TESTED: boards over SSH. There is no sshd: apt-get install openssh-server")
    server = Server(tmp_path_factory.mktemp("board"))
    yield server
    server.stop()


@pytest.fixture
def server(_server: Server) -> Iterator[Server]:
    """The board; when a test is over, none of our processes may be left on it."""
    yield _server
    wait_until(lambda: not _server.agents() and not _server.workers())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder of the user who connects."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(ssh_client, "PAUSES_S", (0.0, 0.0))
    return home


@pytest.fixture
def address(server: Server, home: Path) -> Address:
    """The board's, with the user's key and a host key that is known."""
    address = Address(
        host="127.0.0.1", port=server.port, user=server.user, identity_file=server.user_key
    )
    accept_host_key(address)
    return address


@pytest.fixture
def board(address: Address) -> Iterator[SshBoard]:
    with SshBoard("lab", address) as board:
        yield board


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalBoard]:
    monkeypatch.setenv("QSDNN_BOARD_CACHE", str(tmp_path / "local"))
    with LocalBoard() as board:
        yield board


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Package, Reference]:
    """A small network in onnxruntime, and inputs for it."""
    folder = tmp_path_factory.mktemp("network")
    path = folder / "net.onnx"
    path.write_bytes(build("tiny-cnn").SerializeToString())
    graph = load_graph(path, {}, workdir=folder)
    package = Builder(graph, load_engines(["onnxruntime"]), folder).reference()
    inputs = {name: graph.tensors[name] for name in graph.inputs}
    return package, Reference(feeds=random_feeds(inputs))
