"""Priced noise keeps a limit, and what is found is close to the best there is."""

import itertools

import numpy as np
import pytest

from qsdnn.accuracy.noise import FLOOR, NoiseModel
from qsdnn.agents.exact.solver import Exact
from qsdnn.tuning.limits.lagrangian import price_of, priced, within
from qsdnn_envs.synthetic import instance


@pytest.fixture(params=range(6))
def case(request):
    cost = instance("chain", layers=7, primitives=4, domains=2, crossing=0.3, seed=request.param)
    rng = np.random.default_rng(request.param)
    power = rng.lognormal(-7, 1.5, cost.space.mask.shape)
    power[:, 0] = 0.0
    power[~cost.space.mask] = 0.0
    return cost, NoiseModel(space=cost.space, power=power)


def _all(space):
    return np.array(list(itertools.product(*[np.flatnonzero(row) for row in space.mask])))


@pytest.mark.parametrize("share", [0.02, 0.2, 0.6])
def test_nearly_the_best_plan_that_keeps_the_limit(case, share):
    cost, noise = case
    plans = _all(cost.space)
    levels = noise.predict(plans)
    limit = FLOOR + levels.min() + share * (levels.max() - levels.min())
    latency_ms = np.array([cost.predict(plan) for plan in plans])
    best_ms = latency_ms[levels <= limit].min()
    price = price_of(cost, noise, limit)
    found = Exact(plans=1).learn(priced(cost, noise, price)).choice
    assert noise.predict(found)[0] <= limit
    better = within(cost, noise, limit, found)
    assert noise.predict(better)[0] <= limit
    assert cost.predict(better) <= cost.predict(found) + 1e-12
    assert best_ms - 1e-12 <= cost.predict(better) <= 1.25 * best_ms


def test_without_need_nothing_is_charged(case):
    cost, noise = case
    assert price_of(cost, noise, 1e9) == 0.0
    assert priced(cost, noise, 0.0) is cost


def test_from_above_the_limit(case):
    cost, noise = case
    plans = _all(cost.space)
    worst = plans[noise.predict(plans).argmax()]
    limit = float(np.quantile(noise.predict(plans), 0.3))
    assert noise.predict(within(cost, noise, limit, worst))[0] <= limit
