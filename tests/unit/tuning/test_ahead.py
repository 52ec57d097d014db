"""While a board measures, the next plans are built, if the board is another machine."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qsdnn.board import Package, Record, State
from qsdnn.errors import BuildError
from qsdnn.listener import Silent
from qsdnn.measure.measurer import Counts
from qsdnn.tuning.bench import GROUP, Bench

# A guard against waiting for ever, not a measure of anything.
PATIENCE_S = 60.0
COUNT = 3 * GROUP - 1
PLANS = [np.array([number]) for number in range(COUNT)]


class Builder:
    """Builds a plan of one primitive, a number, into a package of that name."""

    def __init__(self, broken: int | None) -> None:
        self.built: set[int] = set()
        self._broken = broken

    def segments(self, plan):
        return list(plan)

    def package(self, segments):
        (number,) = segments
        self.built.add(number)
        if number == self._broken:
            raise BuildError("this one cannot be built")
        return Package(manifest={}, folder=Path(), digest=str(number))


class Measurer:
    """Measures until the next group was built, or sees that it was not."""

    def __init__(self, builder: Builder, *, elsewhere: bool) -> None:
        self.notes: list[str] = []
        self.counts = Counts()
        self.spent_s: dict[str, float] = {}
        self.elsewhere = elsewhere
        self.groups = 0
        self._builder = builder

    def measure(self, packages, purpose, options, **_):
        self.groups += 1
        first = self.groups * GROUP
        following = set(range(first, min(first + GROUP, COUNT)))
        deadline = time.monotonic() + PATIENCE_S
        while self.elsewhere and not following <= self._builder.built:
            assert time.monotonic() < deadline, "nothing is built meanwhile"
        assert self.elsewhere or not following & self._builder.built
        return [Record(state=State.UNSUPPORTED) for _ in packages]


def make_bench(*, elsewhere: bool, broken: int | None = None) -> tuple[Bench, Measurer]:
    builder = Builder(broken)
    measurer = Measurer(builder, elsewhere=elsewhere)
    space, config = (
        SimpleNamespace(primitives=range(COUNT)),
        SimpleNamespace(threads=1, max_memory_mb=None, weighs=False, budget_s=300.0),
    )
    return Bench(space, builder, measurer, config, Silent()), measurer


@pytest.mark.parametrize("elsewhere", [True, False])
def test_the_next_group_is_built_ahead_only_where_that_disturbs_nothing(elsewhere):
    bench, measurer = make_bench(elsewhere=elsewhere)
    trials = bench.in_groups(PLANS, [])
    assert [trial.package.digest for trial in trials] == [str(n) for n in range(COUNT)]
    assert measurer.groups == 3


def test_a_plan_that_cannot_be_built_fails_in_its_turn():
    bench, measurer = make_bench(elsewhere=True, broken=COUNT - 1)
    with pytest.raises(BuildError, match="this one"):
        bench.in_groups(PLANS, [])
    assert measurer.groups == 2
