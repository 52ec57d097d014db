"""A search as users run it, and everything that can happen to its board: what it tells, how it
ends, what it keeps, and that the same command goes on from there."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experiments import faults

from .disk import Disk
from .lab import IMPATIENT, Lab, Running
from .ledger import Ledger
from .server import find_sshd, make_key, wait_until

# Long enough for all that is to happen.
LONG = IMPATIENT + "from qsdnn.tuning.start import initial_design\ninitial_design.SURE = 0.0\n"
WORDS = ("--engines", "onnxruntime", "--episodes", "50", "--seed", "0", "--json")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    if find_sshd() is None:
        pytest.skip("NOT TESTED: boards over SSH. There is no sshd: apt-get install openssh-server")
    with Lab(tmp_path, LONG) as lab:
        yield lab
        wait_until(lambda: not lab.left())


class Search:
    """The same command, again and again.

    Args:
        lab: Where.
        more: Words of it.
    """

    def __init__(self, lab: Lab, *more: str) -> None:
        self._lab = lab
        self._words = ("search", lab.example("tiny-cnn"), "--board", "lab", *WORDS, *more)
        self.ledger = Ledger(lab.store)

    def start(self) -> Running:
        return self._lab.qsdnn(*self._words)

    def until_it_measures(self) -> Running:
        """Starts it; it has stored something new, and measures more."""
        rows, run = self.ledger.rows(), self.start()
        run.until(lambda: self.ledger.rows() > rows and self._lab.server.workers())
        return run

    def ends_with_3(self, act: Callable[[], object]) -> str:
        """What it tells when it measures and something is done."""
        run = self.until_it_measures()
        rows = self.ledger.rows()
        act()
        ended = run.result()
        assert ended.code == 3 and "Traceback" not in ended.err, ended.err
        assert self.ledger.rows() >= rows and not self.ledger.lost()
        error = ended.json["error"]
        assert error["hint"] and error["exit_code"] == 3
        return f"{error['message']}\n{error['hint']}"

    def succeeds(self) -> None:
        """It goes on to its end, and has measured nothing twice."""
        known, before = self.ledger.rows(), self.ledger.writes()
        ended = self.start().result()
        assert ended.code == 0, ended.err
        counts = ended.json["measurements"]
        assert counts["cached"] == known and counts["failed"] == 0
        assert counts["taken"] == self.ledger.writes() - before
        assert not self.ledger.doubled() and not self.ledger.lost()
        assert set(self.ledger.states()) == {"ok"} and self.ledger.is_whole()


@pytest.mark.slow
def test_what_cannot_be_survived_ends_it_with_3_and_the_same_command_goes_on(lab):
    search, server = Search(lab, "--measurements", "18"), lab.server
    accepted = server.folder / "authorized_keys"

    def cut_for_good() -> None:
        lab.relay.refuse()
        lab.relay.cut()

    told = search.ends_with_3(cut_for_good)
    assert "does not come back" in told and "Connection refused" in told
    assert "goes on from there" in told
    lab.relay.listen()

    told = search.ends_with_3(server.change_host_key)
    assert "HAS CHANGED" in told and "--accept-host-key" in told
    lab.accept()

    def change_user_key() -> None:
        shutil.copy(make_key(server.folder / "other_key").with_suffix(".pub"), accepted)
        server.cut_sessions()

    told = search.ends_with_3(change_user_key)
    assert "refuses the login" in told and "ssh-copy-id" in told
    shutil.copy(server.user_key.with_suffix(".pub"), accepted)

    search.until_it_measures().kill()
    search.succeeds()


@pytest.mark.slow
def test_a_full_disk_ends_it_with_3_and_when_some_is_free_it_goes_on(lab):
    try:
        disk = Disk(lab.server.cache, 200)
    except PermissionError as error:
        pytest.skip(f"NOT TESTED: full disks. Mounting one takes root: {error}")
    with disk:
        search = Search(lab)
        told = search.ends_with_3(disk.fill)
        assert "the disk is full" in told and "free some space there" in told
        disk.free()
        search.until_it_measures().kill()
        assert not search.ledger.doubled()
        wait_until(lambda: not lab.left())


KINDS = (
    "agent killed",
    "agent stopped for good",
    "board rebooted",
    "child killed",
    "child stopped a while",
    "connection cut",
    "connection held 1 s",
    "host killed",
)


@pytest.mark.slow
def test_random_faults_neither_stop_a_search_nor_lose_or_double_a_measurement(lab):
    search = Search(lab)
    words = ("search", "tiny-cnn.onnx", "--board", "lab", *WORDS)
    kinds = list(KINDS)
    random.Random(0).shuffle(kinds)
    drawn = ((kind, 0.2, 1.0) for kind in kinds)
    rows, found = faults.disturb(lab, words, search.ledger, drawn, len(kinds))
    assert sorted(row["kind"] for row in rows) == sorted(KINDS)
    told = faults.account(lab, search.ledger, rows, found)
    assert told["sound"], told
