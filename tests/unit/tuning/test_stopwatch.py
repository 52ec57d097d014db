"""The stopwatch, on a clock that only the test moves."""

from __future__ import annotations

from qsdnn.tuning.stopwatch import Mark, Part, Stopwatch


class Clock:
    def __init__(self):
        self.now_s = 10.0

    def __call__(self):
        return self.now_s


def test_an_inner_part_interrupts_the_outer_one_and_all_is_accounted_for():
    clock = Clock()
    watch = Stopwatch(start_s=8.0, clock=clock)
    clock.now_s = 11.0
    watch.prepared()
    with watch.part(Part.BUILDING):
        clock.now_s += 1.0
        with watch.part(Part.LEARNING):
            clock.now_s += 5.0
        clock.now_s += 0.5
    clock.now_s += 0.25
    assert watch.spent_s() == {"preparing": 3.0, "building": 1.5, "learning": 5.0, "other": 0.25}
    assert sum(watch.spent_s().values()) == clock.now_s - 8.0


def test_points_are_reached_once_but_better_plans_may_follow():
    clock = Clock()
    watch = Stopwatch(start_s=8.0, clock=clock)
    for mark in (Mark.BEST_PLAN, Mark.FIRST_PLAN, Mark.BEST_PLAN, Mark.FIRST_PLAN):
        clock.now_s += 1.0
        watch.mark(mark)
    assert watch.reached_s() == {"first plan": 4.0, "best plan": 5.0}


def test_the_board_s_time_is_told_by_its_steps_and_the_rest_is_sending():
    clock = Clock()
    watch, board = Stopwatch(clock=clock), {"load": 1.0}
    watch.prepared()
    with watch.board(lambda: board):
        clock.now_s += 4.0
        board.update(start=0.5, load=2.0, run=1.0)
    assert watch.spent_s() == {"sending": 1.5, "starting": 0.5, "loading": 1.0, "running": 1.0}
