"""Interleaved repeats: decides who runs next, and when it is enough, without engine or clock."""

from __future__ import annotations

import math
import random
from statistics import median
from typing import Callable, Dict, List, Optional, Protocol, Sequence

from qsdnn_runtime.protocol import MeasureOptions

from .trust import is_precise

# A package this many times slower than the fastest cannot win: its interval does not matter.
SLOW_RATIO = 5.0
# Turns last at least this long, for a shorter one mostly measures the caches and branch predictors
# that the neighbours left; and have so many runs where a run is no longer than `WARM_MS`, as a loop
# runs a network. What takes longer fills the caches itself.
TURN_MS, TURN_RUNS, WARM_MS = 2.0, 4, 20.0
# Runs of one turn are disturbed alike: a subject is not precise before it had so many turns, the
# fewest samples whose median has a 95 % interval.
TURNS = 6
# The least run after which the wait for a processor is read: reading takes some microseconds, and
# brings other things into the caches. A turn of shorter runs is read as a whole.
LAP_MS = 1.0
SEED = 0


class Subject(Protocol):
    """A package that is measured, as the turns need it."""

    runs_ms: List[float]
    alive: bool

    @property
    def counted_ms(self) -> Sequence[float]:
        """The runs of `runs_ms` that count: all of them, where too few were undisturbed."""

    def run_once(self) -> float:
        """The milliseconds of one run; infinite after a failure, which also clears `alive`."""

    def count(self, run_ms: float) -> None:
        """Adds the last run to `runs_ms`."""

    def wait(self, runs: int, waited_ms: Optional[float]) -> None:
        """Takes the time that the last runs waited for a processor; None where it is not known."""


class Waits(Protocol):
    """Tells how long runs wait for a processor: see `qsdnn_runtime.board.disturbance.Waits`."""

    def refresh(self) -> None:
        """Looks for threads that have started."""

    def lap(self) -> Optional[float]:
        """The wait in ms since the last lap; None where it is not known."""


class NoWaits:
    """Stands in for `Waits` where the system does not tell how long runs wait."""

    def refresh(self) -> None:
        """Does nothing."""

    def lap(self) -> Optional[float]:
        """None: the wait is not known."""
        return None


def interleave(
    subjects: Sequence[Subject],
    options: MeasureOptions,
    clock: Callable[[], float],
    on_round: Callable[[int], None] = lambda number: None,
    waits: Optional[Waits] = None,
    cold: bool = False,
) -> None:
    """Fills `runs_ms` of every subject, in rounds of one turn each, shuffled with a fixed seed.

    - Turns have the same number of runs for all but slow subjects, so that the i-th runs of two
      subjects are neighbours in time and may be compared in pairs. Where a turn has several runs,
      one more run goes before them and is not counted: it brings the caches back.
    - Rounds end when each interval of the median is within ``precision`` after `TURNS` turns, each
      subject has ``max_runs``, or ``budget_s`` is over. A precise subject runs on beside the others
      until it has twice the runs it needed, then rests.
    - Disturbed runs are made again within the budget: ``min_runs`` undisturbed runs are wanted too,
      and their interval must be precise, unless they are too few to count.
    - ``min_runs`` is kept even past the budget, except by slow subjects (`SLOW_RATIO`): these
      stop after ``max(3, min_runs // 2)`` runs, past the budget after one.

    Args:
        subjects: The subjects to measure; those not `alive` are left out.
        options: The limits that say when it is enough.
        clock: A function that returns the time in seconds.
        on_round: A function that is told the number of each round before the round starts.
        waits: The reader of the waits for a processor; None where nobody can tell.
        cold: Whether each turn is one run, which finds the caches as others left them.
    """
    waits = waits or NoWaits()
    deadline = clock() + options.budget_s
    estimates = _warm_up(subjects, options.warmup)
    fastest = min(estimates.values(), default=1.0)
    burst = 1 if cold else _burst(fastest, options)
    shuffle = random.Random(SEED).shuffle
    needed: Dict[int, int] = {}
    number = 0
    while True:
        late = clock() >= deadline
        turns = _turns(subjects, options, TURNS * burst, late, needed)
        if not turns:
            return
        number += 1
        on_round(number)
        waits.refresh()
        shuffle(turns)
        for index in turns:
            slow = estimates[index] > SLOW_RATIO * fastest
            _turn(subjects[index], 1 if slow else burst, options.max_runs, waits)


def _warm_up(subjects: Sequence[Subject], runs: int) -> Dict[int, float]:
    """Makes uncounted runs; returns the last run's ms by subject.

    Slow subjects run only once, and so do those that fill the caches themselves.
    """
    last: Dict[int, float] = {}
    for number in range(max(runs, 1)):
        most = min(SLOW_RATIO * min(last.values(), default=math.inf), WARM_MS)
        for index, subject in enumerate(subjects):
            if subject.alive and (number == 0 or last[index] <= most):
                last[index] = subject.run_once()
    return {index: value for index, value in last.items() if subjects[index].alive}


def turn_runs(fastest_ms: float) -> int:
    """The number of runs in a turn, by the latency of the fastest subject."""
    least = TURN_RUNS if fastest_ms <= WARM_MS else 1
    return max(least, math.ceil(TURN_MS / max(fastest_ms, 1e-3)))


def _burst(fastest_ms: float, options: MeasureOptions) -> int:
    """The number of runs in a turn; twice ``min_runs`` turns must fit into ``max_runs``."""
    most = options.max_runs // (2 * max(options.min_runs, 1))
    return max(1, min(turn_runs(fastest_ms), most))


def _turn(subject: Subject, burst: int, max_runs: int, waits: Waits) -> None:
    waits.lap()  # before the run that is not counted, which brings the caches back
    if burst > 1:
        subject.run_once()
    runs = 0
    for left in reversed(range(min(burst, max_runs - len(subject.runs_ms)))):
        if not subject.alive:
            return
        elapsed = subject.run_once()
        if subject.alive:
            subject.count(elapsed)
            runs += 1
            if elapsed >= LAP_MS or not left:
                subject.wait(runs, waits.lap())
                runs = 0


def _turns(
    subjects: Sequence[Subject],
    options: MeasureOptions,
    wanted: int,
    late: bool,
    needed: Dict[int, int],
) -> List[int]:
    """The subjects that run in the next round; empty when it is enough.

    Args:
        subjects: The subjects that are measured.
        options: The limits that say when it is enough.
        wanted: The number of undisturbed runs that are wanted while there is time.
        late: Whether the budget is over.
        needed: The number of runs each subject had when it first was precise; kept between calls.
    """
    counted = {i: s.counted_ms for i, s in enumerate(subjects) if s.alive and s.runs_ms}
    middles = {index: median(runs_ms) for index, runs_ms in counted.items()}
    fastest = min(middles.values(), default=math.inf)
    unfinished, settled = [], []
    for index, subject in enumerate(subjects):
        runs = len(subject.runs_ms)
        if not subject.alive or runs >= options.max_runs:
            continue
        if runs and middles[index] > SLOW_RATIO * fastest:
            if runs < (1 if late else max(3, options.min_runs // 2)):
                unfinished.append(index)
        elif runs < options.min_runs:
            unfinished.append(index)
        elif not late:
            enough = len(counted[index]) >= max(options.min_runs, wanted)
            if not enough or not is_precise(counted[index], options.precision):
                unfinished.append(index)
            elif runs < 2 * needed.setdefault(index, runs):
                settled.append(index)
    return unfinished + settled if unfinished else []
