"""A limit on accuracy: what is learned of it, and what it lets through."""

import dataclasses

import numpy as np
import pytest

from qsdnn.accuracy.loss import Loss, LossLimit
from qsdnn.accuracy.noise import noise_of, sqnr_db_of
from qsdnn.agents.exact.solver import Exact
from qsdnn.primitive import Precision, Primitive
from qsdnn.tuning.limits.constraint import AccuracyLimit, Unlimited
from qsdnn_envs.synthetic import instance

LAYERS = 12
DROP_PER_NOISE = 20.0


@pytest.fixture
def cost():
    """A chain on two engines, of which one also computes in int8, faster."""
    base = instance("chain", layers=LAYERS, primitives=3, domains=3, permitted=1.0, seed=3)
    precisions = (Precision.FP32, Precision.FP32, Precision.INT8)
    primitives = tuple(
        Primitive(engine=name, algorithm="a", precision=precision, family=name, format=precision)
        for name, precision in zip("abb", precisions, strict=True)
    )
    space = dataclasses.replace(base.space, primitives=primitives)
    layer_ms = base.layer_ms * np.array([1.0, 1.1, 0.3])
    return dataclasses.replace(base, space=space, layer_ms=layer_ms)


@pytest.fixture
def truth(cost):
    power = np.zeros(cost.space.mask.shape)
    power[:, 2] = np.random.default_rng(1).lognormal(-9, 1.5, LAYERS)
    return power


def limit_of(cost, truth, loss_limit, counted=None):
    """A constraint whose evaluations know the truth."""

    def evaluate(plans):
        if counted is not None:
            counted.extend(plans)
        noise = [max(truth[np.arange(LAYERS), plan].sum(), 1e-12) for plan in plans]
        return [
            Loss(
                metric="top1",
                reference=0.9,
                plan=0.9 - DROP_PER_NOISE * one,
                drop=DROP_PER_NOISE * one,
                sqnr_db=sqnr_db_of(one),
                samples=100,
            )
            for one in noise
        ]

    return AccuracyLimit(
        space=cost.space,
        loss_limit=loss_limit,
        choosing=evaluate,
        deciding=evaluate,
        alone=np.where(truth > 0, truth * 1.3, np.nan),
    )


@pytest.mark.parametrize("min_sqnr_db", [25.0, 32.0, 38.0])
def test_what_is_proposed_keeps_a_limit_in_decibels(cost, truth, min_sqnr_db):
    limit = limit_of(cost, truth, LossLimit(min_sqnr_db=min_sqnr_db))
    policy = Exact(plans=8).learn(limit.price(cost))
    near = limit.near(cost, policy.candidates)
    assert len(near) and len(np.unique(near, axis=0)) == len(near)
    assert all(limit.admits(near))  # a third more noise is expected than there is
    used = (near[0] == 2).sum()
    assert 0 < used < LAYERS or min_sqnr_db == 25.0


def test_the_noise_that_a_metric_allows_is_found_by_evaluating(cost, truth):
    allowed = 0.3 * truth[:, 2].sum()
    limit = limit_of(cost, truth, LossLimit(max_drop=DROP_PER_NOISE * allowed))
    assert limit.limit == np.inf  # nothing is known
    rng = np.random.default_rng(0)
    plans = [np.where(rng.random(LAYERS) < share, 2, 0) for share in np.linspace(0, 1, 40)]
    limit.evaluate_all(plans)
    noise = np.array([truth[np.arange(LAYERS), plan].sum() for plan in plans])
    assert noise[noise <= allowed].max() <= limit.limit <= noise[noise > allowed].min()


def test_all_evaluated_lose_too_much(cost, truth):
    limit = limit_of(cost, truth, LossLimit(max_drop=1e-9))
    limit.evaluate_all([np.full(LAYERS, 2)])
    assert 0 < limit.limit < truth[:, 2].sum()


def test_nothing_is_evaluated_twice(cost, truth):
    counted = []
    limit = limit_of(cost, truth, LossLimit(min_sqnr_db=30.0), counted)
    plans = [np.full(LAYERS, p) for p in (0, 2, 0)]
    assert limit.admits(plans) == limit.admits(plans)
    assert len(counted) == 2
    assert limit.refusal(plans[0]) == "" and limit.is_known(plans[2])
    none, said = limit.held_out_refusals(plans[:2])
    assert (none == "" and "dB" in said) or truth[:, 2].sum() < noise_of(30.0)


def test_without_a_limit_everything_stays_as_it_is(cost):
    free, plans = Unlimited(), np.zeros((2, LAYERS), np.int64)
    assert free.price(cost) is cost and free.near(cost, plans) is plans
    assert free.admits(list(plans)) == [True, True] and free.is_known(plans[0])
    assert not free.refusal(plans[0]) and free.held_out_refusals(plans) == ["", ""]
