"""Disturbance, told from files that kernels could have written, and from real neighbours."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import qsdnn.latency
from qsdnn_runtime.board import disturbance
from qsdnn_runtime.board.disturbance import (
    SLACK_TICKS,
    WAKE_MS,
    Waits,
    is_contended,
    is_disturbed,
    taken_by_others,
    undisturbed,
)
from qsdnn_runtime.board.sensors import Sensors
from qsdnn_runtime.server.sittings import pool
from qsdnn_runtime.server.subject import Subject
from qsdnn_runtime.server.trust import judge

TICKS_S = os.sysconf("SC_CLK_TCK")


class Threads:
    """What the kernel says of this process's threads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.main = threading.get_native_id()

    def tell(self, thread: int, ran_ms: float, waited_ms: float, times: int = 7) -> None:
        file = self.root / f"proc/self/task/{thread}/schedstat"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{ran_ms * 1e6:.0f} {waited_ms * 1e6:.0f} {times}\n")


@pytest.fixture
def threads(tmp_path: Path) -> Threads:
    return Threads(tmp_path)


def test_a_lap_tells_the_longest_wait_of_those_that_worked(threads):
    threads.tell(threads.main, 100, 5)
    threads.tell(1, 100, 7)
    threads.tell(2, 100, 7)
    waits = Waits(threads.root)
    waits.refresh()
    assert waits.lap() == 0.0  # what was before is nobody's
    threads.tell(threads.main, 110, 5.5)
    threads.tell(1, 1e6, 9)
    threads.tell(2, 100, 57)  # wanted to, and did nothing
    assert waits.lap() == 2.0
    assert waits.lap() == 0.0
    threads.tell(threads.main, 110, 6)  # it waits for all
    assert waits.lap() == 0.5


def test_to_wake_takes_time_on_any_machine(threads):
    threads.tell(threads.main, 1, 0, times=0)
    with Waits(threads.root) as waits:
        waits.refresh()
        waits.lap()
        threads.tell(threads.main, 2, 100 * WAKE_MS, times=100)  # an engine's thread, at each layer
        assert waits.lap() == 0.0
        threads.tell(threads.main, 3, 100 * WAKE_MS + 3, times=101)  # another process's slice
        assert waits.lap() == pytest.approx(3 - WAKE_MS)


def test_threads_come_and_go(threads):
    threads.tell(threads.main, 1, 0)
    waits = Waits(threads.root)
    waits.refresh()
    threads.tell(1, 1, 0)
    (threads.root / "proc/self/task/2").mkdir()  # ends while it is looked at
    waits.refresh()
    waits.lap()
    threads.tell(1, 1e6, 3)
    assert waits.lap() == 3.0
    (threads.root / "proc/self/task/1/schedstat").write_text("")
    assert waits.lap() == 0.0


def test_where_the_kernel_does_not_count_nothing_is_known(threads):
    for _ in range(2):  # without files; with zeros in them
        waits = Waits(threads.root)
        waits.refresh()
        assert waits.lap() is None
        threads.tell(threads.main, 0, 0)
    assert not is_disturbed(None, 1.0)


def test_waits_on_this_machine_are_known_and_files_are_closed():
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("this kernel tells nobody how long a thread waited: no /proc/self/schedstat")
    before = len(os.listdir("/proc/self/fd"))
    with Waits() as waits:
        waits.refresh()
        assert waits.lap() is not None
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def busy_core() -> Iterator[None]:
    """Holds this thread to a core that another process keeps busy."""
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("this kernel tells nobody how long a thread waited: no /proc/self/schedstat")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    busy = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(busy, stdout=subprocess.PIPE) as neighbour:
        try:
            assert neighbour.stdout is not None and neighbour.stdout.readline()
            yield
        finally:
            os.sched_setaffinity(0, cores)
            neighbour.kill()


def test_beside_a_busy_process_on_its_core_runs_wait(busy_core):
    with Waits() as waits:
        waits.refresh()
        waits.lap()
        # A guard against waiting for ever, not a measure of anything.
        assert any(is_disturbed(waits.lap(), 1.0) for _ in range(10**7))


def test_runs_that_waited_for_a_hundredth_are_not_disturbed():
    assert [is_disturbed(ms, 0.2) for ms in (0.0, 0.01)] == [False, True]
    assert [is_disturbed(ms, 50.0) for ms in (0.4, 0.6)] == [False, True]


def test_undisturbed_runs_count_alone_where_there_are_enough():
    runs_ms = [1.0, 9.0, 1.1, 8.0, 1.2]
    assert undisturbed(runs_ms, {1, 3}) == [1.0, 1.1, 1.2]
    assert undisturbed(runs_ms, {0, 1, 3}) == runs_ms
    assert qsdnn.latency.ENOUGH == disturbance.ENOUGH


def test_a_subject_leaves_disturbed_runs_out_and_says_so():
    subject = Subject({"index": 0, "manifest": {}, "folder": "."}, 1, beacon=None)
    subject._latest_ms = [1.0]
    for run_ms, waited_ms in ((1.0, 0.0), (4.0, 3.0), (1.1, 0.01), (1.2, 0.0)):
        subject.count(run_ms)
        subject.wait(1, waited_ms)
    record = subject.record()
    assert record["runs_ms"] == [1.0, 4.0, 1.1, 1.2] and record["disturbed"] == [1]
    assert subject.counted_ms == [1.0, 1.1, 1.2] and record["ci95_ms"] == (1.0, 1.2)
    assert subject.waits() == {"waited_share": pytest.approx(3.01 / 7.3), "disturbed_runs": 1}
    for run_ms in (0.2, 0.2):  # a turn is looked at as a whole
        subject.count(run_ms)
    subject.wait(2, 0.07)
    assert subject.record()["disturbed"] == [1, 4, 5]


STAT = """cpu  {} 0 0 {} 0 0 0 {} 0 0
cpu0 {} 0 0 900 0 0 0 0 0 0
cpu1 {} 0 0 900 0 0 0 0 0 0
intr 1
"""


def reading(root: Path, *numbers: int, cores=(0,)):
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text(STAT.format(*numbers))
    return Sensors(cores, root=root).read()


def test_what_others_took_is_what_was_busy_and_not_its_own(tmp_path):
    before = reading(tmp_path, 1000, 1000, 0, 500, 500)
    slack = SLACK_TICKS / 200
    own_s = 100 / TICKS_S
    alone = reading(tmp_path, 1100, 1100, 0, 600, 500)
    assert taken_by_others(before, alone, own_s) == {
        "others_share": 0.0, "others_here_share": 0.0, "steal_share": 0.0,
    }  # fmt: skip
    beside = reading(tmp_path, 1200, 1000, 0, 600, 600)
    found = taken_by_others(before, beside, own_s)
    assert found["others_share"] == pytest.approx(0.5 - slack) and not found["others_here_share"]
    here = taken_by_others(before, alone, own_s / 2)
    assert here["others_share"] == pytest.approx(0.25 - slack)
    assert here["others_here_share"] == pytest.approx(0.5 - 2 * slack)
    stolen = reading(tmp_path, 1100, 1080, 20, 600, 500)
    assert taken_by_others(before, stolen, own_s)["steal_share"] == pytest.approx(0.1 - slack)
    assert taken_by_others({}, {}, own_s) == {}


@pytest.mark.parametrize(("listed", "ticks"), [("0", 100), ("0-1", 200), ("0,1", 200)])
def test_cores_that_share_their_execution_units_are_looked_at_together(tmp_path, listed, ticks):
    siblings = tmp_path / "sys/devices/system/cpu/cpu0/topology/thread_siblings_list"
    siblings.parent.mkdir(parents=True)
    siblings.write_text(f"{listed}\n")
    before = reading(tmp_path, 1000, 1000, 0, 500, 500)
    after = reading(tmp_path, 1200, 1000, 0, 600, 600)
    assert after["here_busy_ticks"] - before["here_busy_ticks"] == ticks


def test_sittings_are_pooled_with_what_disturbed_them():
    def sitting(disturbed, others_share):
        context = {"others_share": others_share, "disturbed_runs": len(disturbed), "cores": [0]}
        runs = {"runs_ms": [1.0, 2.0], "segments_ms": [[1.0], [2.0]], "disturbed": disturbed}
        return {**runs, "max_error": None, "trust": "stable", "context": context}

    found = pool([sitting([1], 0.0), sitting([], 0.04), sitting([0], 0.02)], 0.5)
    assert found["disturbed"] == [1, 4] and found["ci95_ms"] == (1.0, 2.0)
    assert found["trust"] == "stable"
    assert found["context"] == {
        "others_share": pytest.approx(0.02), "disturbed_runs": 2, "cores": [0],
        "sittings": [2, 2, 2],
    }  # fmt: skip
    assert pool([sitting([], 0.02), sitting([], 0.1)], 0.5)["trust"] == "disturbed"


@pytest.mark.parametrize(
    ("disturbed", "shares", "contended"),
    [
        ([], {}, False),
        ([0, 1], {}, False),  # left out, and three are left
        ([0, 1, 2], {}, True),  # none left out
        ([], {"waited_share": 0.1}, True),
        ([], {"others_share": 0.04, "others_here_share": 0.04, "steal_share": 0.005}, False),
        ([], {"others_share": 0.06}, True),
        ([], {"others_here_share": 0.06}, True),
        ([], {"steal_share": 0.02}, True),
    ],
)
def test_what_is_called_contention(disturbed, shares, contended):
    record = {"runs_ms": [1.0] * 5, "disturbed": disturbed, "context": shares}
    assert is_contended(record) is contended
    assert (judge(record, 0.01) == "disturbed") is contended
