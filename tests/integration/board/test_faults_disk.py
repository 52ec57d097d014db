"""A board's disk that is full, when and wherever something of ours is to be written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from qsdnn.board import State
from qsdnn.errors import BoardError
from qsdnn_boards.ssh.address import Address
from qsdnn_boards.ssh.board import SshBoard

from .disk import Disk
from .server import Server, wait_until
from .test_measure import SHORT


@pytest.fixture
def disk(server: Server, address: Address) -> Iterator[Callable[..., Disk]]:
    """Gives the board a disk of its own for what is ours."""
    with ExitStack() as stack:

        def mount(size_mb: int, files: int = 0) -> Disk:
            try:
                return stack.enter_context(Disk(server.cache, size_mb, files))
            except PermissionError as error:
                pytest.skip(f"NOT TESTED: full disks. Mounting one takes root: {error}")

        yield mount
        wait_until(lambda: not server.agents())


def refusal(board: SshBoard, network) -> str:
    with pytest.raises(BoardError) as caught:
        board.measure([network[0]], network[1], SHORT)
    assert caught.value.exit_code == 3 and "free some space there" in caught.value.hint
    return caught.value.message


def state(board: SshBoard, network) -> State:
    return board.measure([network[0]], network[1], SHORT)[0].state


def test_it_has_no_room_for_the_runtime(disk, board, network, server):
    disk(32)
    assert "the disk is full: 32 MB free in" in refusal(board, network)
    assert not list((server.cache / "runtime").iterdir())


def test_it_has_no_room_for_artifacts_until_some_is_freed(disk, address, network, server):
    full = disk(120)
    with SshBoard("lab", address) as board:
        assert state(board, network) is State.OK
    shutil.rmtree(server.cache / "artifacts")
    full.fill(leave_mb=50)
    with SshBoard("lab", address) as board:
        assert "the disk is full: 50 MB free in" in refusal(board, network)
        full.free()
        assert state(board, network) is State.OK


@pytest.mark.parametrize("what", ["bytes", "files"])
def test_nothing_more_can_be_written_while_it_measures(disk, address, network, what):
    full = disk(120, files=40)
    fill = full.fill if what == "bytes" else full.use_up_files
    with SshBoard("lab", address) as board:
        assert state(board, network) is State.OK
        fill()
        assert "the disk is full: nothing more can be written" in refusal(board, network)
        full.free()
        assert state(board, network) is State.OK


def test_not_even_an_agent_can_start(disk, address, network):
    full = disk(120, files=40)
    with SshBoard("lab", address) as board:
        assert state(board, network) is State.OK
    full.use_up_files()
    with SshBoard("lab", address) as board:
        assert "the disk is full: nothing more can be written in" in refusal(board, network)
        full.free()
        assert state(board, network) is State.OK
