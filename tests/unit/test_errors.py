from __future__ import annotations

import pytest

from qsdnn.board import BoardInfo, check_threads
from qsdnn.cli import COMMANDS
from qsdnn.errors import InputError, unknown


@pytest.mark.parametrize(
    ("name", "meant"),
    [("serach", "search"), ("replays", "replay"), ("pakage", "package"), ("benhc", "bench")],
)
def test_a_slip_of_the_finger_is_understood(name: str, meant: str) -> None:
    assert unknown("command", name, COMMANDS).hint.startswith(f"did you mean '{meant}'? known: ")


@pytest.mark.parametrize("name", ["explain", "inspect", "compare", "tune", "x"])
def test_another_word_is_not_taken_for_one_of_ours(name: str) -> None:
    assert unknown("command", name, COMMANDS).hint.startswith("known: ")


@pytest.mark.parametrize(("cores", "said"), [(2, "has 2 cores: more"), (1, "has 1 core: more")])
def test_more_threads_than_cores_are_refused(cores: int, said: str) -> None:
    info = BoardInfo(name="lab", fingerprint="", engines={}, facts={"cores": cores})
    check_threads(info, cores)
    with pytest.raises(InputError, match=said) as caught:
        check_threads(info, 64)
    assert f"--threads {cores}" in caught.value.hint


def test_a_board_that_does_not_tell_its_cores_is_believed() -> None:
    check_threads(BoardInfo(name="lab", fingerprint="", engines={}, facts={}), 64)
