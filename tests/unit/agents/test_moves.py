import numpy as np

from qsdnn.agents.local_search import Moves
from qsdnn_envs.synthetic import instance


def test_moves_reach_every_plan() -> None:
    cost = instance("chain", layers=3, primitives=4, domains=2, permitted=1.0, seed=2)
    moves = Moves(cost=cost, rng=np.random.default_rng(0))
    plan = moves.starts()[0]
    for _ in range(1500):
        plan = moves.run(plan)
        moves.meet(plan[None, :])
    assert len(moves.met) == 4**3
