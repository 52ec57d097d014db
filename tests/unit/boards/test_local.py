"""The local board, with engines that do everything an engine can do wrong."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from qsdnn.board import Applied, MeasureOptions, Reference, State, Trust, open_board
from qsdnn.errors import BoardError, RunError
from qsdnn.measure.trust import doubt
from qsdnn_boards.link.bootstrap import prune
from qsdnn_boards.local import LocalBoard

from .conftest import LOADERS

SHORT = MeasureOptions(budget_s=0.5, max_runs=30, timeout_s=60.0)
# A guard against waiting for ever, not a measure of anything.
PATIENCE_S = 60.0


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def pids_in(note: Path) -> list[int]:
    """The child and the agent, as a loader wrote them down."""
    return [int(pid) for pid in note.read_text().split()] if note.exists() else []


def test_it_is_registered():
    assert isinstance(open_board("local"), LocalBoard)


def test_probe_survives_an_engine_that_crashes_when_imported(board):
    info = board.probe()
    assert info is board.probe()
    assert info.engines["fake"].version == "1.2"
    assert info.engines["fake"].capabilities == ("FP32",)
    assert "broken" not in info.engines
    assert list(info.facts["broken_engines"]) == ["broken"]
    assert "SIGSEGV" in info.facts["broken_engines"]["broken"]
    assert info.facts["numpy"] == np.__version__
    assert len(info.fingerprint) == 16


def test_a_good_package_has_a_whole_record(board, make_package, reference):
    heard: list[str] = []
    options = dataclasses.replace(SHORT, profile=True)
    package = make_package(sleep_s=0.002)
    (record,) = board.measure([package], reference, options, heard.append)
    assert record.state is State.OK and record.error == "" and record.max_error == 0.0
    assert 5 <= len(record.runs_ms) == len(record.segments_ms) <= 30
    assert min(record.runs_ms) > 2.0 and record.load_ms > 0
    assert record.ci95_ms[0] <= record.latency_ms <= record.ci95_ms[1]
    assert len(record.segment_ms) == 1
    assert record.layers_ms == {4: pytest.approx(0.5)}
    assert record.applied == {4: Applied(primitive="fake/auto/fp32", kernel="twice")}
    assert record.context["threads"] == len(record.context["cores"]) == 1
    assert {"load", "all_ticks"} <= set(record.context["before"]) & set(record.context["after"])
    assert record.trust in Trust
    assert {"loading 1 of 1", "profiling 1 of 1"} <= set(heard)
    assert any(text.startswith("sending artifacts: ") for text in heard)


@pytest.fixture
def busy_core() -> Iterator[None]:
    """A process that keeps the core busy that one thread is measured on."""
    core = min(os.sched_getaffinity(0))
    busy = f"import os; os.sched_setaffinity(0, {{{core}}}); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE) as neighbour:
        try:
            assert neighbour.stdout is not None and neighbour.stdout.readline()
            yield
        finally:
            neighbour.kill()


def test_what_is_measured_beside_a_busy_process_is_never_called_stable(
    board, make_package, reference, busy_core
):
    # Steady runs: only what others took tells them from those of a quiet machine.
    options = dataclasses.replace(SHORT, precision=0.0, max_runs=150, sittings=2)
    heard: list[str] = []
    (record,) = board.measure([make_package(sleep_s=0.005)], reference, options, heard.append)
    assert record.trust is Trust.DISTURBED, record.context
    assert record.context["others_here_share"] > 0.3
    assert "other processes took" in doubt(record)
    assert not any(text.startswith("measuring again") for text in heard)  # it goes on


BAD = {
    "segfault at load": ({"load": {"kind": "segfault"}}, State.CRASHED, "SIGSEGV, in step 'load'"),
    "refusal": ({"load": {"kind": "refuse"}}, State.UNSUPPORTED, "no kernel for that"),
    "error at load": ({"load": {"kind": "raise"}}, State.CRASHED, "an engine's own error"),
    "exit at check": ({"good_runs": 0, "then": {"kind": "exit"}}, State.CRASHED, "code 3"),
    "killed at run": ({"good_runs": 5, "then": {"kind": "kill"}}, State.CRASHED, "SIGKILL"),
    "error at run": ({"good_runs": 5, "then": {"kind": "raise"}}, State.CRASHED, "own error"),
    "wrong": ({"factor": 2.1}, State.WRONG_OUTPUT, "differ from the reference by 0.05"),
    "NaN": ({"factor": float("nan")}, State.WRONG_OUTPUT, "differ from the reference by inf"),
}


def test_whatever_an_engine_does_its_neighbours_are_measured(board, make_package, reference):
    bad = [make_package(name, **options) for name, (options, _, _) in BAD.items()]
    good = [make_package(f"good {i}", sleep_s=0.002) for i in range(2)]
    records = board.measure([good[0], *bad, good[1]], reference, SHORT)
    assert [records[0].state, records[-1].state] == [State.OK, State.OK]
    for record, (name, (_, state, error)) in zip(records[1:-1], BAD.items(), strict=True):
        assert record.state is state, (name, record.error)
        assert error in record.error, name
        assert not record.runs_ms
    assert records[1 + list(BAD).index("wrong")].max_error == pytest.approx(0.05)


def test_a_hang_is_timed_out_and_its_neighbour_measured(board, make_package, reference):
    hang = make_package("hang", good_runs=4, then={"kind": "hang"})
    good = make_package("good", sleep_s=0.002)
    options = dataclasses.replace(SHORT, timeout_s=1.0)
    hung, fine = board.measure([hang, good], reference, options)
    assert hung.state is State.TIMED_OUT and "no end of 'run' after 1 s" in hung.error
    assert fine.state is State.OK


@pytest.mark.parametrize("how", ["segfault", "raise", "refuse"])
def test_a_profile_that_fails_leaves_the_timing_good(board, make_package, reference, how):
    packages = [make_package("bad", profile={"kind": how}), make_package("good")]
    bad, good = board.measure(packages, reference, dataclasses.replace(SHORT, profile=True))
    assert bad.state is State.OK and bad.runs_ms and not bad.applied
    assert bad.context["profile_error"]
    assert good.applied and "profile_error" not in good.context


def test_without_reference_outputs_nothing_is_compared(board, make_package, reference):
    unknown = Reference(feeds=reference.feeds)
    (record,) = board.measure([make_package(factor=3.0)], unknown, SHORT)
    assert record.state is State.OK and record.max_error is None
    assert board.measure([], reference, SHORT) == []


def test_run_gives_outputs_or_says_why_not(board, make_package, reference):
    outputs = board.run(make_package("good", factor=3.0), reference.feeds)
    np.testing.assert_array_equal(outputs["y"], 3 * reference.feeds["x"])
    with pytest.raises(RunError, match="no kernel for that") as caught:
        board.run(make_package("refused", load={"kind": "refuse"}), reference.feeds)
    assert caught.value.exit_code == 1  # and not 3: the board is there
    with pytest.raises(BoardError, match="SIGSEGV"):
        board.run(make_package("crash", load={"kind": "segfault"}), reference.feeds)
    with pytest.raises(RunError, match="'x' is missing"):
        board.run(make_package("hungry"), {})


def test_an_artifact_is_sent_once_and_a_corrupt_one_refused(board, make_package, reference):
    heard: list[str] = []
    good, corrupt = make_package("good"), make_package("corrupt")
    next(corrupt.folder.iterdir()).write_bytes(b"weights of coorupt")
    with pytest.raises(BoardError, match="corrupt"):
        board.measure([corrupt], reference, SHORT)
    for _ in range(2):
        assert board.measure([good], reference, SHORT, heard.append)[0].state is State.OK
        heard.append("measured")
    sent = [text.startswith("sending") for text in heard]
    assert any(sent) and not any(sent[heard.index("measured") :])


def test_after_a_lost_agent_what_was_measured_is_kept_and_the_next_call_works(
    board, make_package, reference
):
    early = make_package("early", load={"kind": "refuse"})
    deadly = make_package("deadly", good_runs=3, then={"kind": "kill_agent"})
    good = make_package("good")
    records = board.measure([early, deadly, good], reference, SHORT)
    assert [record.state for record in records] == [
        State.UNSUPPORTED,
        State.BOARD_LOST,
        State.BOARD_LOST,
    ]
    assert "was lost" in records[1].error
    assert board.measure([good], reference, SHORT)[0].state is State.OK


def test_an_interrupted_call_leaves_no_process_and_the_next_one_works(
    board, make_package, reference, tmp_path
):
    note = tmp_path / "note"
    hang = make_package("hang", load={"kind": "hang", "note": str(note)})

    def interrupt(text: str) -> None:
        if text == "loading 2 of 2":
            wait_until(lambda: len(pids_in(note)) == 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        board.measure([make_package("good"), hang], reference, SHORT, interrupt)
    wait_until(lambda: all(map(is_gone, pids_in(note))))
    assert board.measure([make_package("next")], reference, SHORT)[0].state is State.OK


HOST = """
import sys
from pathlib import Path
import numpy as np
from conftest import LOADERS, write_package
from qsdnn.board import MeasureOptions, Reference
from qsdnn_boards.local import LocalBoard

root, note = Path(sys.argv[1]), sys.argv[2]
package = write_package(root, "hang", {"load": {"kind": "hang", "note": note}})
with LocalBoard(python_path=[LOADERS]) as board:
    board.measure([package], Reference(feeds={"x": np.ones((2, 3), "f4")}), MeasureOptions())
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Another process that waits for a package that hangs."""
    note = tmp_path / "note"
    environment = {
        **os.environ,
        "QSDNN_BOARD_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(LOADERS.parent),
    }
    command = [sys.executable, "-c", HOST, str(tmp_path), str(note)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: len(pids_in(note)) == 2 or process.poll() is not None)
        yield process, note
        process.kill()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_host(host, how):
    process, note = host
    pids = pids_in(note)
    assert len(pids) == 2
    process.send_signal(how)
    process.wait()
    wait_until(lambda: all(map(is_gone, pids)))


def test_a_board_that_cannot_be_started_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("QSDNN_BOARD_CACHE", str(tmp_path / "file"))
    with pytest.raises(BoardError, match="QSDNN_BOARD_CACHE"), LocalBoard() as board:
        board.probe()


def test_leaving_the_board_ends_the_agent(make_package, tmp_path, monkeypatch, reference):
    monkeypatch.setenv("QSDNN_BOARD_CACHE", str(tmp_path / "cache"))
    note = tmp_path / "note"
    package = make_package(load={"kind": "nothing", "note": str(note)})
    with LocalBoard(python_path=[LOADERS]) as board:
        board.run(package, reference.feeds)
    assert all(map(is_gone, pids_in(note)))
    assert not list((tmp_path / "cache" / "scratch").iterdir())


def test_old_runtimes_are_pruned_and_those_in_use_are_not(board, tmp_path):
    board.probe()
    folder = tmp_path / "cache" / "runtime"
    (ours,) = folder.iterdir()
    os.utime(ours, (0, 0))
    for number in range(1, 4):
        (folder / f"{number}.zip").touch()
        os.utime(folder / f"{number}.zip", (number, number))
    with LocalBoard() as another:
        another.probe()  # the same runtime: used last
        assert {path.stem for path in folder.iterdir()} == {ours.stem, "3"}
        for number in range(4, 6):
            (folder / f"{number}.zip").touch()
        os.utime(ours, (0, 0))
        prune(folder)
        assert {path.stem for path in folder.iterdir()} == {ours.stem, "4", "5"}


def test_it_is_not_elsewhere(board):
    assert not board.elsewhere
    board.probe()
    assert not board.elsewhere
