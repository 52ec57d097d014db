"""The whole search on a board whose costs are known."""

import dataclasses
import itertools
import sqlite3

import numpy as np
import pytest

from qsdnn.agents import agent
from qsdnn.cli import main
from qsdnn.listener import Silent
from qsdnn.plan import from_json, to_json
from qsdnn.store import Store
from qsdnn.testing import SLOW, SyntheticBoard
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.search import search


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Networks with layers of their own."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("kws1", "squeezenet", "tiny-cnn"):
        with pytest.raises(SystemExit) as ended:
            main(["example", name, "-o", str(folder / f"{name}.onnx")])
        assert ended.value.code == 0
    return folder


def config_of(models, name="kws1", **changes):
    settings = {"engines": SyntheticBoard.ENGINES, "episodes": 200, "budget_s": 600.0} | changes
    return SearchConfig(model=models / f"{name}.onnx", **settings)


def run(config, store, board=None, plans=None):
    """A search; every interim plan goes through a file and back."""
    board = board or SyntheticBoard()
    board.know(config.model)

    def keep(plan):
        assert plan.interim and from_json(to_json(plan)) == plan
        if plans is not None:
            plans.append(plan)

    with Store(str(store)) as opened, board:
        return search(config, board, opened, Silent(), keep)


def true_ms(found, board):
    return board.truth(found.cost.space).predict(found.final.trial.choice)


def test_finds_nearly_the_best_plan_there_is(models, tmp_path):
    board, plans = SyntheticBoard(), []
    found = run(config_of(models, "squeezenet"), tmp_path / "s.db", board, plans)
    best = agent("exact").learn(board.truth(found.cost.space), episodes=1, seed=0)
    assert best.proven
    assert true_ms(found, board) <= 1.03 * best.latency_ms
    assert found.final.mixed and found.final.ratio.is_faster
    held_out = found.learning.held_out
    assert held_out.mean < 0.01 and held_out.coverage > 0.8
    # The first plan is the best uniform one, each later one is faster.
    measured = [plan.measured_ms for plan in plans]
    assert len(plans) > 1 and measured == sorted(measured, reverse=True)
    assert len({choice.primitive for choice in plans[0].layers}) == 1


def test_a_plan_is_there_after_one_look_at_each_engine(models, tmp_path):
    class Measured(list):
        def append(self, plan):
            super().append((len(board.measured), plan))

    board, plans = SyntheticBoard(), Measured()
    found = run(config_of(models), tmp_path / "s.db", board, plans)
    assert plans[0][0] <= len(SyntheticBoard.ENGINES) <= len(found.profile.trials)
    assert all(a != b for (_, a), (_, b) in itertools.pairwise(plans))


@pytest.mark.parametrize("lost_after", [3, 11, 19])
def test_going_on_equals_never_having_stopped(models, tmp_path, lost_after):
    config = config_of(models)
    whole_board = SyntheticBoard()
    whole = run(config, tmp_path / "whole.db", whole_board)
    first, second = SyntheticBoard(lost_after=lost_after), SyntheticBoard()
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "parts.db", first)
    parts = run(config, tmp_path / "parts.db", second)
    assert (parts.final.trial.choice == whole.final.trial.choice).all()
    assert parts.cost.predict(parts.final.trial.choice) == pytest.approx(
        whole.cost.predict(whole.final.trial.choice), rel=1e-9
    )
    assert parts.learning.rounds == whole.learning.rounds
    assert len(second.measured) < len(whole_board.measured)
    assert parts.measurer.counts.taken + parts.measurer.counts.cached == (
        whole.measurer.counts.taken + whole.measurer.counts.cached
    )


@pytest.mark.parametrize("limit", [1, 8, 12])
def test_the_budget_of_measurements_holds(models, tmp_path, limit):
    found = run(config_of(models, measurements=limit, until=1.0), tmp_path / "s.db")
    plans = len(found.profile.trials) + found.mixed_plans
    assert plans <= max(limit, len(SyntheticBoard.ENGINES))  # one of each engine at the least
    assert found.learning.ended == f"--measurements {limit} is reached"


def test_a_search_ends_when_it_is_as_sure_as_was_asked(models, tmp_path):
    hardly, quite = (
        run(config_of(models, until=until), tmp_path / f"{until}.db") for until in (0.2, 0.95)
    )
    assert "20% sure that no plan in view gains over 1%" in hardly.learning.ended
    assert hardly.learning.outlook.chance < 0.8
    assert quite.learning.rounds >= hardly.learning.rounds
    if "95% sure" in quite.learning.ended:
        assert quite.learning.outlook.chance < 0.05


@pytest.mark.slow
def test_what_was_learned_elsewhere_saves_measurements(models, tmp_path):
    def searched(name, store, **changes):
        board = SyntheticBoard(slow=True)
        return run(config_of(models, name, **changes), tmp_path / store, board)

    alone = searched("kws1", "alone.db")
    searched("squeezenet", "both.db")
    after = searched("kws1", "both.db")
    assert alone.prior_networks == 0 and after.prior_networks == 1
    assert alone.spared == () and after.spared == (SLOW,)
    assert SLOW in alone.profile.trials and SLOW not in after.profile.trials
    assert after.measurer.counts.taken < alone.measurer.counts.taken
    assert true_ms(after, SyntheticBoard()) <= 1.01 * true_ms(alone, SyntheticBoard())
    again = searched("kws1", "both.db", remeasure=True)
    assert again.spared == () and SLOW in again.profile.trials


def test_another_board_of_the_kind_profits_too(models, tmp_path):
    alone = run(config_of(models), tmp_path / "alone.db", SyntheticBoard(level=1.5))
    run(config_of(models), tmp_path / "both.db")
    after = run(config_of(models), tmp_path / "both.db", SyntheticBoard(level=1.5))
    assert after.prior_networks == 1
    assert after.measurer.counts.taken <= alone.measurer.counts.taken
    assert true_ms(after, SyntheticBoard()) <= 1.01 * true_ms(alone, SyntheticBoard())
    other = run(config_of(models), tmp_path / "both.db", SyntheticBoard(cpu="quipu"))
    assert other.prior_networks == 0


def test_a_prior_that_misleads_is_dropped(models, tmp_path):
    alone = run(config_of(models), tmp_path / "alone.db")
    run(config_of(models, "tiny-cnn"), tmp_path / "both.db")
    with sqlite3.connect(tmp_path / "both.db") as database:
        database.execute("UPDATE terms SET value = 30 * value + 1 WHERE what != 'layer'")
    database.close()
    after = run(config_of(models), tmp_path / "both.db")
    assert after.prior_networks == 0
    board = SyntheticBoard()
    assert true_ms(after, board) <= 1.01 * true_ms(alone, board)


def test_the_same_search_twice_gives_the_same_plan(models, tmp_path):
    config = config_of(models)
    first, second = (run(config, tmp_path / "s.db") for _ in range(2))
    assert second.measurer.counts.taken == 0
    plans = [dataclasses.replace(f.plan, predicted_ms=0.0) for f in (first, second)]
    assert to_json(plans[0]) == to_json(plans[1])
    assert not dataclasses.replace(plans[0]).interim
    assert np.array_equal(first.cost.layer_ms, second.cost.layer_ms)


def test_one_engine_with_nothing_to_mix_is_its_own_plan(models, tmp_path):
    found = run(config_of(models, engines=("openvino",)), tmp_path / "s.db")
    assert not found.final.mixed and found.learning.held_out.mean is None
    assert found.learning.ended == "no plan is left that may be faster"
