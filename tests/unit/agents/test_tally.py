import numpy as np
import pytest

from qsdnn.agents.local_search import Moves, Tally
from qsdnn_envs.synthetic import instance


@pytest.mark.parametrize("topology", ["chain", "inception", "random"])
def test_changes_add_up_to_what_the_cost_model_predicts(topology: str) -> None:
    cost = instance(topology, layers=30, primitives=9, domains=4, crossing=1.0, seed=1)
    rng = np.random.default_rng(0)
    moves = Moves(cost=cost, rng=rng)
    tally = Tally(cost, moves.starts()[0])
    for _ in range(300):
        look = tally.look(moves.run(tally.plan))
        cost.space.check(look.plan)
        assert look.latency_ms == pytest.approx(cost.predict(look.plan), rel=1e-9)
        before = tally.latency_ms
        if rng.random() < 0.5:
            tally.take(look)
            assert tally.latency_ms == look.latency_ms
        else:
            assert tally.latency_ms == before == pytest.approx(cost.predict(tally.plan))
