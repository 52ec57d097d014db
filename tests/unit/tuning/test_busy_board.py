"""A board that others use, or that is hot: waiting for it is no part of a search's budget."""

from __future__ import annotations

import dataclasses
import re
import time
from functools import partial

import pytest

from qsdnn.cli import main
from qsdnn.listener import Silent
from qsdnn.store import Store
from qsdnn.testing import SyntheticBoard
from qsdnn.tuning import search as search_module
from qsdnn.tuning.budget import Budget
from qsdnn.tuning.config import SearchConfig

BUSY_S, HOT_S, BUDGET_S = 1600.0, 170.0, 900.0


class Clock:
    """A clock that is put forward."""

    def __init__(self) -> None:
        self.ahead_s, self._now = 0.0, time.monotonic

    def __call__(self) -> float:
        return self._now() + self.ahead_s


class BusyBoard(SyntheticBoard):
    """Another host measures on the board at first, and leaves it hot."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._held = self._cool = False

    def hold(self, on_progress=None):
        if not self._held:
            self._clock.ahead_s += BUSY_S
        self._held = True

    def run(self, *arguments, **options):
        self.hold()
        return super().run(*arguments, **options)

    def measure(self, *arguments, **options):
        self.hold()
        waited_s = 0.0 if self._cool else HOT_S
        self._clock.ahead_s += waited_s
        self._cool = True
        return [
            dataclasses.replace(record, context={"cooling": {"waited_s": waited_s}})
            for record in super().measure(*arguments, **options)
        ]


class Notes(Silent):
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.waited_s: list[float] = []

    def note(self, text: str) -> None:
        self.texts.append(text)

    def waited(self, seconds: float) -> None:
        self.waited_s.append(seconds)


def test_what_a_board_is_waited_for_is_no_part_of_the_budget(tmp_path, monkeypatch):
    path, clock, notes = tmp_path / "tiny-cnn.onnx", Clock(), Notes()
    with pytest.raises(SystemExit):
        main(["example", "tiny-cnn", "-o", str(path)])
    board = BusyBoard(clock)
    board.know(path)
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(search_module, "Budget", partial(Budget, clock=clock))
    config = SearchConfig(
        model=path, engines=SyntheticBoard.ENGINES, episodes=50, budget_s=BUDGET_S
    )
    with Store(str(tmp_path / "s.db")) as store, board:
        found = search_module.search(config, board, store, notes)
    (told,) = [text for text in notes.texts if text.startswith("takes 900 s at the most")]
    (least_s,) = re.findall(r"are about (\d+) s", told)
    assert float(least_s) < HOT_S
    assert found.mixed_plans and found.wall_s < BUDGET_S
    assert notes.waited_s == [
        pytest.approx(BUSY_S, rel=0.1),
        pytest.approx(BUSY_S + HOT_S, rel=0.1),
    ]
