"""Hosts that vanish without a word, and agents that are stopped: neither holds a board for ever."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from qsdnn.board import MeasureOptions, State
from qsdnn_boards.link import client
from qsdnn_boards.ssh import channel
from qsdnn_boards.ssh.board import SshBoard
from qsdnn_boards.ssh.client import accept_host_key
from qsdnn_runtime.board.process import Process

from .relay import Relay
from .server import are_gone, wait_until

SHORT = MeasureOptions(budget_s=0.5, max_runs=30)
ENDLESS = MeasureOptions(budget_s=600.0, max_runs=10**6, precision=0.0)


@pytest.fixture
def behind(address):
    """Makes the board one that is reached through a relay."""
    with Relay(address.port) as relay:
        address = replace(address, port=relay.port)
        accept_host_key(address)
        with SshBoard("far", address) as board:
            yield relay, board


@pytest.fixture
def impatient(monkeypatch):
    """Seconds where users have minutes."""
    monkeypatch.setattr(client, "SILENCE_S", 5.0)  # an agent at work says so every 2 s
    monkeypatch.setattr(client, "HOST_SILENCE_S", 3.0)
    monkeypatch.setattr(client, "PING_EVERY_S", 0.5)
    monkeypatch.setattr(channel, "GRACE_S", 1.0)


def once_measuring(act):
    """Does something, once, when the runs that count have begun."""
    done = threading.Event()

    def on_progress(text: str) -> None:
        if text.startswith("round") and not done.is_set():
            done.set()
            act()

    return on_progress


def stop_agent(server) -> Process:
    (pid,) = server.agents()
    os.kill(pid, signal.SIGSTOP)
    agent = Process.running(pid)
    wait_until(lambda: agent.is_stopped)
    return agent


def test_an_agent_ends_when_nothing_is_heard_of_its_host(server, behind, network, impatient):
    relay, board = behind
    package, reference = network
    left = []

    def vanish() -> None:
        left.extend([*server.agents(), *server.workers()])
        relay.fall_silent()  # and the connection from the relay to the board stays

    (lost,) = board.measure([package], reference, ENDLESS, once_measuring(vanish))
    assert lost.state is State.BOARD_LOST and len(left) == 2
    wait_until(lambda: are_gone(left))
    assert not list((server.cache / "scratch").iterdir())


def test_a_host_that_thinks_for_long_keeps_its_agent(server, board, network, impatient):
    package, reference = network
    assert board.measure([package], reference, SHORT)[0].state is State.OK
    agents = server.agents()
    time.sleep(2 * client.HOST_SILENCE_S)
    assert server.agents() == agents
    assert board.measure([package], reference, SHORT)[0].state is State.OK
    assert server.agents() == agents


def test_an_agent_that_was_stopped_for_long_and_goes_on_has_not_lost_its_host(
    server, board, network, impatient
):
    package, reference = network
    assert board.measure([package], reference, SHORT)[0].state is State.OK
    agent = stop_agent(server)
    time.sleep(2 * client.HOST_SILENCE_S)
    os.kill(agent.pid, signal.SIGCONT)
    assert board.measure([package], reference, SHORT)[0].state is State.OK
    assert server.agents() == [agent.pid]


def test_a_stopped_agent_is_a_lost_board_and_is_ended_over_its_connection(
    server, board, network, impatient
):
    package, reference = network
    stopped = []
    (lost,) = board.measure(
        [package], reference, ENDLESS, once_measuring(lambda: stopped.append(stop_agent(server)))
    )
    assert lost.state is State.BOARD_LOST and "nothing was heard of it for 5 s" in lost.error
    assert not stopped[0].lives
    wait_until(lambda: not server.workers())
    assert board.measure([package], reference, SHORT)[0].state is State.OK


def test_a_stopped_agent_that_nobody_can_reach_is_ended_by_the_next_one(
    server, behind, network, impatient
):
    relay, board = behind
    package, reference = network
    stopped = []

    def stop_and_cut() -> None:
        stopped.append(stop_agent(server))
        relay.cut()

    (lost,) = board.measure([package], reference, ENDLESS, once_measuring(stop_and_cut))
    assert lost.state is State.BOARD_LOST and stopped[0].is_stopped
    (record,) = board.measure([package], reference, SHORT)
    assert record.state is State.OK and not stopped[0].lives
    wait_until(lambda: not server.workers())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_agent_that_gets_a_signal_leaves_nothing(server, board, network, number):
    package, reference = network
    ours = []

    def end() -> None:
        ours.extend([*server.agents(), *server.workers()])
        os.kill(ours[0], number)

    (lost,) = board.measure([package], reference, ENDLESS, once_measuring(end))
    assert lost.state is State.BOARD_LOST and "was lost: the measuring server ended" in lost.error
    wait_until(lambda: are_gone(ours))
    assert not list((server.cache / "scratch").iterdir())
    assert not Path(f"/proc/{ours[0]}").exists()
