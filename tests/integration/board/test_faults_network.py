"""A cable that is pulled: packets are lost in both directions, and nobody closes a connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from qsdnn.board import State
from qsdnn.errors import BoardError
from qsdnn_boards.link import client
from qsdnn_boards.ssh import channel
from qsdnn_boards.ssh import client as ssh_client
from qsdnn_boards.ssh.address import Address
from qsdnn_boards.ssh.board import SshBoard
from qsdnn_boards.ssh.client import accept_host_key

from .network import Cable
from .server import Server, are_gone, find_sshd, wait_until
from .test_measure import ENDLESS, SHORT, once_measuring

CUT_S = 2.0


@pytest.fixture
def cable() -> Iterator[Cable]:
    try:
        cable = Cable()
    except PermissionError as error:
        pytest.skip(f"NOT TESTED: a pulled cable. It takes root, and iproute2: {error}")
    with cable:
        yield cable


@pytest.fixture
def far(cable, home, tmp_path) -> Iterator[tuple[Server, SshBoard]]:
    if find_sshd() is None:
        pytest.skip("NOT TESTED: boards over SSH. There is no sshd: apt-get install openssh-server")
    (tmp_path / "far").mkdir()
    server = Server(tmp_path / "far", cable.address, cable.inside)
    address = Address(
        host=cable.address, port=server.port, user=server.user, identity_file=server.user_key
    )
    accept_host_key(address)
    with SshBoard("far", address) as board:
        yield server, board
    server.stop()


def test_a_cable_that_is_pulled_for_a_while_is_not_noticed(cable, far, network):
    server, board = far
    package, reference = network
    assert board.measure([package], reference, SHORT)[0].state is State.OK
    agents = server.agents()
    plugged = threading.Event()

    def plug() -> None:
        plugged.set()
        cable.plug()

    def pull() -> None:
        cable.pull()
        threading.Timer(CUT_S, plug).start()

    (record,) = board.measure([package], reference, SHORT, once_measuring(pull))
    assert record.state is State.OK and server.agents() == agents
    assert plugged.is_set(), "the answer passed a cable that was pulled"


def test_a_cable_that_is_pulled_for_good_loses_the_board_and_leaves_nothing_on_it(
    cable, far, network, monkeypatch
):
    server, board = far
    package, reference = network
    monkeypatch.setattr(client, "SILENCE_S", 5.0)
    monkeypatch.setattr(client, "HOST_SILENCE_S", 3.0)
    monkeypatch.setattr(client, "PING_EVERY_S", 0.5)
    monkeypatch.setattr(channel, "GRACE_S", 0.5)
    monkeypatch.setattr(ssh_client, "CONNECT_TIMEOUT_S", 2.0)
    left = []

    def pull() -> None:
        left.extend([*server.agents(), *server.workers()])
        cable.pull()

    (lost,) = board.measure([package], reference, ENDLESS, once_measuring(pull))
    assert lost.state is State.BOARD_LOST and "nothing was heard of it for 5 s" in lost.error
    assert len(left) == 2
    wait_until(lambda: are_gone(left))
    with pytest.raises(BoardError, match=f"{cable.address}.* (answer|No route)") as caught:
        board.measure([package], reference, SHORT)
    assert caught.value.exit_code == 3
    cable.plug()
    assert board.measure([package], reference, SHORT)[0].state is State.OK
