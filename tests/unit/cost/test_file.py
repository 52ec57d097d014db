"""The file of a cost model gives back the same environment."""

import gymnasium
import numpy as np
import pytest

from qsdnn.cost.model import read_cost, write_cost
from qsdnn.errors import InputError
from qsdnn_envs.synthetic import instance


def test_round_trip(tmp_path):
    cost = instance("residual", layers=20, primitives=6, domains=3, seed=1)
    write_cost(cost, tmp_path / "cost.npz")
    again = read_cost(tmp_path / "cost.npz")
    assert again.space.primitives == cost.space.primitives
    assert again.space.edges == cost.space.edges
    for name in ("layer_ms", "leave_ms", "enter_ms"):
        np.testing.assert_array_equal(getattr(again, name), getattr(cost, name))
    plan = cost.space.mask.argmax(axis=1)
    assert again.predict(plan) == cost.predict(plan)
    env = gymnasium.make("qsdnn_envs:qsdnn/Deployment-v0", cost=again)
    env.reset(seed=0)
    total = sum(float(env.step(int(action))[1]) for action in plan)
    assert total == pytest.approx(-cost.predict(plan))


def test_what_is_no_cost_model_is_named(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(1))
    (tmp_path / "text.npz").write_text("no")
    for name in ("other.npz", "text.npz", "absent.npz"):
        with pytest.raises(InputError, match=name):
            read_cost(tmp_path / name)
