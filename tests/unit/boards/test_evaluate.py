"""Packages run over many inputs on the local board, by an engine that does everything wrong."""

from __future__ import annotations

import numpy as np
import pytest

from qsdnn.board import Evaluation, State
from qsdnn.errors import BoardError
from qsdnn_boards.link import board as agent_board
from qsdnn_runtime.server import measure

RUNS = 7
INPUTS = {"x": np.arange(RUNS * 6, dtype=np.float32).reshape(RUNS, 2, 3)}


def assert_doubled(found: Evaluation) -> None:
    assert found.state is State.OK and found.error == ""
    assert set(found.outputs) == {"y"}
    np.testing.assert_array_equal(found.outputs["y"], 2 * INPUTS["x"])


def test_each_input_has_its_output_in_order(board, make_package):
    first, second = board.evaluate([make_package("a"), make_package("b", factor=3.0)], INPUTS)
    assert_doubled(first)
    np.testing.assert_array_equal(second.outputs["y"], 3 * INPUTS["x"])
    assert board.evaluate([], INPUTS) == []


def test_large_outputs_come_in_parts(board, make_package):
    """A part is sent when it has so many bytes; a run has 1 MB here."""
    runs = 2 * measure.PART_BYTES // 2**20 + 1
    values = np.random.default_rng(0).standard_normal((runs, 512, 512), np.float32)
    package = make_package("large")
    for tensor in package.manifest["tensors"].values():
        tensor["shape"] = [512, 512]
    (found,) = board.evaluate([package], {"x": values})
    np.testing.assert_array_equal(found.outputs["y"], 2 * values)


BAD = {
    "segfault at load": ({"load": {"kind": "segfault"}}, State.CRASHED, "SIGSEGV, in step 'load'"),
    "refusal": ({"load": {"kind": "refuse"}}, State.UNSUPPORTED, "no kernel for that"),
    "error at run": ({"good_runs": 3, "then": {"kind": "raise"}}, State.CRASHED, "own error"),
    "killed at run": ({"good_runs": 3, "then": {"kind": "kill"}}, State.CRASHED, "SIGKILL"),
}


def test_whatever_an_engine_does_the_others_are_evaluated(board, make_package):
    bad = [make_package(name, **options) for name, (options, _, _) in BAD.items()]
    found = board.evaluate([make_package("first"), *bad, make_package("last")], INPUTS)
    assert_doubled(found[0])
    assert_doubled(found[-1])
    for evaluation, (name, (_, state, error)) in zip(found[1:-1], BAD.items(), strict=True):
        assert evaluation.state is state and error in evaluation.error, name
        assert not evaluation.outputs


def test_what_was_killed_by_chance_is_tried_again(board, make_package, tmp_path):
    """The first child dies in the middle, leaving a part of the outputs; the second does not."""
    note = tmp_path / "note"
    package = make_package("unlucky", good_runs=3, then={"kind": "kill_once", "note": str(note)})
    (found,) = board.evaluate([package], INPUTS)
    assert note.exists()
    assert_doubled(found)


def test_a_hang_is_timed_out_once_and_the_next_one_evaluated(board, make_package, monkeypatch):
    monkeypatch.setattr(agent_board, "STEP_TIMEOUT_S", 1.0)
    hang = make_package("hang", good_runs=2, then={"kind": "hang"})
    hung, fine = board.evaluate([hang, make_package("fine")], INPUTS)
    assert hung.state is State.TIMED_OUT and "no end of 'run' after 1 s" in hung.error
    assert_doubled(fine)


def test_a_lost_board_keeps_what_is_complete_and_the_next_call_works(board, make_package):
    deadly = make_package("deadly", good_runs=3, then={"kind": "kill_agent"})
    packages = [make_package("early"), deadly, make_package("late")]
    early, lost, late = board.evaluate(packages, INPUTS)
    assert_doubled(early)
    assert lost.state is late.state is State.BOARD_LOST and "was lost" in lost.error
    assert_doubled(board.evaluate([packages[2]], INPUTS)[0])


def test_inputs_are_sent_once_and_do_not_stay(board, make_package, tmp_path):
    heard: list[str] = []
    for name in "ab":
        board.evaluate([make_package(name)], INPUTS, on_progress=heard.append)
        heard.append("evaluated")
    sizes = [text.rpartition(" of ")[2] for text in heard if text.startswith("sending")]
    assert len(sizes) == 3, "the inputs and each package's artifact"
    board.__exit__(None, None, None)
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not any(path.read_bytes() == INPUTS["x"].tobytes() for path in kept)


def test_inputs_that_do_not_fit_are_said(board, make_package):
    (found,) = board.evaluate([make_package("a")], {"x": INPUTS["x"].astype(np.float64)})
    assert found.state is State.CRASHED and "expected float32, got float64" in found.error
    (found,) = board.evaluate([make_package("b")], {"z": INPUTS["x"]})
    assert found.state is State.CRASHED and "'x' is missing" in found.error


def test_a_corrupt_artifact_is_refused(board, make_package):
    package = make_package("corrupt")
    next(package.folder.iterdir()).write_bytes(b"weights of coorupt")
    with pytest.raises(BoardError, match="corrupt"):
        board.evaluate([package], INPUTS)
