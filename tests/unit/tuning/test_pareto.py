"""The front has no plan that another beats."""

import itertools

import numpy as np

from qsdnn.accuracy.noise import NoiseModel
from qsdnn.tuning.finish.pareto import predicted_front, undominated
from qsdnn_envs.synthetic import instance


def test_undominated():
    pairs = [(3, 1), (1, 5), (2, 5), (4, 0.5)]
    assert undominated(pairs) == [1, 0, 3]
    lean = [(*pair, memory) for pair, memory in zip(pairs, (9, 9, 2, 9), strict=True)]
    assert undominated(lean) == [1, 2, 0, 3]  # slower and no more exact, but smaller
    assert undominated([(1, 1, 1), (1, 1, 1)]) == [0]


def test_the_predicted_front_is_close_to_the_true_one():
    cost = instance("chain", layers=7, primitives=4, domains=2, crossing=0.3, seed=5)
    rng = np.random.default_rng(0)
    power = np.where(cost.space.mask, rng.lognormal(-7, 1.5, cost.space.mask.shape), 0.0)
    power[:, 0] = 0.0
    noise = NoiseModel(space=cost.space, power=power)
    every = np.array(list(itertools.product(*[np.flatnonzero(row) for row in cost.space.mask])))
    latency_ms = np.array([cost.predict(plan) for plan in every])
    loss = noise.predict(every)
    front = predicted_front(cost, noise)
    assert len(front) >= 4
    assert len(np.unique([plan.tobytes() for plan in front])) == len(front)
    levels = [float(noise.predict(plan)[0]) for plan in front]
    times = [cost.predict(plan) for plan in front]
    assert levels == sorted(levels, reverse=True) and times == sorted(times)
    for level, time_ms in zip(levels, times, strict=True):
        assert time_ms <= 1.25 * latency_ms[loss <= level * (1 + 1e-9)].min()
