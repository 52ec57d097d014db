"""Measuring on a board over SSH: as on this machine, and whatever happens to the connection."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from qsdnn.board import MeasureOptions, Reference, State, open_board
from qsdnn.errors import BoardError
from qsdnn.plan.package import runtime_archive
from qsdnn_boards.link import board as agent_board
from qsdnn_boards.link import client
from qsdnn_boards.ssh import channel
from qsdnn_boards.ssh.board import SshBoard
from qsdnn_boards.ssh.client import accept_host_key

from .relay import Relay
from .server import kill, wait_until

SHORT = MeasureOptions(budget_s=0.5, max_runs=30)
ENDLESS = MeasureOptions(budget_s=600.0, max_runs=10**6, precision=0.0)


@pytest.fixture
def behind(address):
    """Makes the board one that is reached through a relay."""
    with Relay(address.port, delay_s=0.02) as relay:
        address = replace(address, port=relay.port)
        accept_host_key(address)
        relay.connections = 0
        with SshBoard("far", address) as board:
            yield relay, board


def once_measuring(act):
    """Does something, once, when the runs that count have begun."""
    done = threading.Event()

    def on_progress(text: str) -> None:
        if text.startswith("round") and not done.is_set():
            done.set()
            act()

    return on_progress


def test_it_is_found_by_its_address(server):
    board = open_board(server.name)
    assert isinstance(board, SshBoard) and board.name == server.name


def test_it_evaluates_as_the_local_board(board, local, network):
    package, reference = network
    inputs = {name: np.stack([feed, -feed, 2 * feed]) for name, feed in reference.feeds.items()}
    far, near = (machine.evaluate([package] * 2, inputs) for machine in (board, local))
    assert [found.state for found in (*far, *near)] == [State.OK] * 4
    for name, outputs in near[0].outputs.items():
        assert len(outputs) == 3
        for found in (*far, near[1]):
            np.testing.assert_array_equal(found.outputs[name], outputs)


def test_it_measures_and_computes_as_the_local_board(board, local, network):
    package, reference = network
    outputs = [machine.run(package, reference.feeds) for machine in (board, local)]
    for name in outputs[0]:
        np.testing.assert_array_equal(outputs[0][name], outputs[1][name])
    known = Reference(feeds=reference.feeds, outputs=outputs[1])
    for machine in (board, local):
        (record,) = machine.measure([package], known, SHORT)
        assert record.state is State.OK and record.max_error == 0.0, record.error
        assert len(record.runs_ms) >= 5
    ours, theirs = local.probe(), board.probe()
    assert (ours.fingerprint, ours.engines) == (theirs.fingerprint, theirs.engines)


def test_a_board_is_elsewhere_unless_it_shares_our_kernel(board, monkeypatch):
    board.probe()
    assert not board.elsewhere, "the server of the tests is on this machine"
    monkeypatch.setattr(agent_board, "boot_id", lambda: "another machine's")
    assert board.elsewhere


def test_the_runtime_is_sent_once_verified_and_old_ones_go(server, address):
    folder = server.cache / "runtime"
    path = folder / f"{runtime_archive().digest}.zip"
    for spoil in (lambda: None, lambda: path.write_bytes(b"damaged"), path.unlink):
        with SshBoard("lab", address) as board:
            board.probe()
        assert path.read_bytes() == runtime_archive().content
        before = path.stat().st_ino
        with SshBoard("lab", address) as board:
            board.probe()
        assert path.stat().st_ino == before
        for number in range(3):
            (folder / f"{number}.zip").write_bytes(b"old")
        spoil()
    assert len(list(folder.iterdir())) <= 4


def test_with_a_delay_it_works_over_one_connection(behind, network):
    relay, board = behind
    (record,) = board.measure([network[0]], network[1], SHORT)
    assert record.state is State.OK and relay.connections == 1


def test_a_cut_of_a_second_is_survived(behind, network):
    relay, board = behind
    on_progress = once_measuring(lambda: relay.hold(1.0))
    (record,) = board.measure([network[0]], network[1], SHORT, on_progress)
    assert record.state is State.OK and relay.connections == 1


@pytest.mark.parametrize("how", ["session killed", "agent killed", "connection cut"])
def test_a_board_lost_while_it_measures_is_a_record_and_the_next_call_reconnects(
    server, behind, network, how
):
    relay, board = behind
    package, reference = network
    acts = {
        "session killed": server.cut_sessions,
        "agent killed": lambda: [kill(pid) for pid in server.agents()],
        "connection cut": relay.cut,
    }
    (lost,) = board.measure([package], reference, ENDLESS, once_measuring(acts[how]))
    assert lost.state is State.BOARD_LOST and "board 'far' was lost" in lost.error
    wait_until(lambda: not server.workers() and not server.agents())
    (record,) = board.measure([package], reference, SHORT)
    assert record.state is State.OK
    assert relay.connections == 2


def test_a_connection_cut_for_good_is_an_error_after_a_few_tries(behind, network):
    relay, board = behind
    package, reference = network

    def cut_for_good() -> None:
        relay.refuse()
        relay.cut()

    (lost,) = board.measure([package], reference, ENDLESS, once_measuring(cut_for_good))
    assert lost.state is State.BOARD_LOST and "the connection to it broke" in lost.error
    with pytest.raises(BoardError, match="cannot be connected to: Connection refused") as caught:
        board.measure([package], reference, SHORT)
    assert caught.value.exit_code == 3 and relay.connections == 1


def test_a_connection_that_falls_silent_is_given_up(behind, network, monkeypatch):
    relay, board = behind
    package, reference = network
    assert board.measure([package], reference, SHORT)[0].state is State.OK
    monkeypatch.setattr(client, "SILENCE_S", 5.0)  # an agent at work says so every 2 s
    monkeypatch.setattr(channel, "GRACE_S", 1.0)
    (lost,) = board.measure([package], reference, ENDLESS, once_measuring(relay.fall_silent))
    assert lost.state is State.BOARD_LOST and "nothing was heard of it for 5 s" in lost.error


def test_a_board_that_reboots_is_lost_and_then_back(server, board, network):
    package, reference = network
    (lost,) = board.measure([package], reference, ENDLESS, once_measuring(server.stop))
    assert lost.state is State.BOARD_LOST
    with pytest.raises(BoardError, match="refused"):
        board.measure([package], reference, SHORT)
    server.start()
    assert board.measure([package], reference, SHORT)[0].state is State.OK
