"""The fit finds the costs that made the measurements."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

from qsdnn.cost.fit import Prior, fit, no_prior
from qsdnn.cost.model import CostModel
from qsdnn.cost.terms import ENTER, LEAVE, Observation
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Edge, Space
from qsdnn.tuning.rounds.outlook import WORTH, Outlook, outlook

LAYERS, DOMAINS = 12, 3


def _space():
    primitives = tuple(
        Primitive(engine=name, algorithm="auto", precision=Precision.FP32, family=f"{name}/fp32")
        for name in "abc"
    )
    rng = np.random.default_rng(0)
    edges = tuple(
        Edge(producer=i, consumers=(i + 1,), size_bytes=int(1024 * rng.integers(50, 2000)))
        for i in range(LAYERS - 1)
    )
    return Space(
        layers=tuple(f"layer{i}" for i in range(LAYERS)),
        primitives=primitives,
        mask=np.ones((LAYERS, DOMAINS), bool),
        edges=edges,
        computes=np.arange(LAYERS) % 2 == 0,
    )


def _truth(space, rng):
    kib = np.array([edge.size_bytes / 1024 for edge in space.edges])
    rates = rng.uniform(0.0001, 0.0005, (2, DOMAINS))
    return CostModel(
        space=space,
        layer_ms=rng.lognormal(0, 1, (LAYERS, DOMAINS)),
        enter_ms=0.02 + np.outer(kib, rates[0]),
        leave_ms=0.01 + np.outer(kib, rates[1]),
    )


def _observe(truth, choice, rng, noise):
    """The segments of a plan of a chain, and their times."""
    cuts = [0, *(np.flatnonzero(np.diff(choice)) + 1), len(choice)]
    for start, end in pairwise(cuts):
        domain = int(choice[start])
        entering = (start - 1,) if start else ()
        leaving = (end - 1,) if end < len(choice) else ()
        ms = truth.layer_ms[np.arange(start, end), domain].sum()
        ms += sum(truth.enter_ms[t, domain] for t in entering)
        ms += sum(truth.leave_ms[t, domain] for t in leaving)
        yield Observation(
            layers=tuple(range(start, end)),
            primitives=(domain,) * (end - start),
            crossings=(
                *((ENTER, t, domain) for t in entering),
                *((LEAVE, t, domain) for t in leaving),
            ),
            ms=ms * rng.normal(1, noise),
        )


def _plans(rng, count):
    return [rng.integers(0, DOMAINS, LAYERS) for _ in range(count)]


def _fitted(seed, noise=0.01, mixed=25):
    """A fit to uniform and mixed plans of a truth, and that truth."""
    rng = np.random.default_rng(seed)
    space = _space()
    truth = _truth(space, rng)
    profile = truth.layer_ms * rng.normal(1, 0.1, truth.layer_ms.shape)
    plans = [np.full(LAYERS, domain) for domain in range(DOMAINS)] + _plans(rng, mixed)
    seen = [o for plan in plans for o in _observe(truth, plan, rng, noise)]
    return fit(space, profile, seen), truth, rng


@pytest.mark.parametrize("seed", range(5))
def test_predicts_unseen_plans(seed):
    belief, truth, rng = _fitted(seed)
    unseen = _plans(rng, 50)
    errors = [abs(belief.cost.predict(plan) / truth.predict(plan) - 1) for plan in unseen]
    before = _fitted(seed, mixed=0)[0].cost
    errors_before = [abs(before.predict(plan) / truth.predict(plan) - 1) for plan in unseen]
    assert np.mean(errors) < 0.02
    assert np.mean(errors) < 0.3 * np.mean(errors_before)
    assert (belief.cost.enter_ms >= 0).all() and (belief.cost.leave_ms >= 0).all()


@pytest.mark.parametrize("noise", [0.005, 0.03])
@pytest.mark.parametrize("mixed", [4, 16])
def test_intervals_hold_what_is_measured(noise, mixed):
    inside = []
    for seed in range(12):
        belief, truth, rng = _fitted(seed, noise, mixed)
        cuts = [list(_observe(truth, plan, rng, noise)) for plan in _plans(rng, 25)]
        measured = np.array([sum(o.ms for o in cut) for cut in cuts])
        low, high = belief.intervals_ms(cuts).T
        inside += ((low <= measured) & (measured <= high)).tolist()
    assert 0.9 < np.mean(inside) <= 1.0


def test_more_measurements_make_it_surer():
    few, truth, rng = _fitted(1, mixed=3)
    many, _, _ = _fitted(1, mixed=25)
    cuts = [list(_observe(truth, plan, rng, 0)) for plan in _plans(rng, 20)]
    assert (many.spread_ms(cuts) < few.spread_ms(cuts)).all()
    twin = list(cuts[0])
    np.testing.assert_allclose(many.spread_ms([twin], than=cuts[0]), 0, atol=1e-9)


def test_draws_are_spread_as_it_says():
    belief, truth, rng = _fitted(2, mixed=4)
    plan = rng.integers(0, DOMAINS, LAYERS)
    drawn = [belief.draw(np.random.default_rng(seed)).predict(plan) for seed in range(400)]
    cut = [list(_observe(truth, plan, rng, 0))]
    assert np.mean(drawn) == pytest.approx(belief.latency_ms(cut)[0], rel=0.02)
    assert np.std(drawn) == pytest.approx(belief.spread_ms(cut)[0], rel=0.25)


def test_differences_are_drawn_as_they_are_believed_to_be():
    belief, truth, rng = _fitted(2, mixed=4)
    cuts = [list(_observe(truth, plan, rng, 0)) for plan in _plans(rng, 6)]
    drawn = belief.draws_ms(cuts, than=cuts[0], count=20_000, rng=np.random.default_rng(0))
    np.testing.assert_allclose(drawn[:, 0], 0, atol=1e-9)  # a plan takes as long as itself
    believed = belief.latency_ms(cuts) - belief.latency_ms(cuts[:1])
    spread = belief.spread_ms(cuts, than=cuts[0])
    np.testing.assert_allclose(drawn.mean(axis=0), believed, atol=0.03 * spread.max())
    np.testing.assert_allclose(drawn.std(axis=0)[1:], spread[1:], rtol=0.03)


def test_the_outlook_is_what_the_fastest_would_gain():
    belief, truth, rng = _fitted(2, mixed=4)
    one, *others = [list(_observe(truth, plan, rng, 0)) for plan in _plans(rng, 12)]
    assert outlook(belief, [one], one) == Outlook(gain=0.0, chance=0.0)
    now_ms = belief.latency_ms([one])[0]
    for other in others:
        slower_ms = belief.latency_ms([other])[0] - now_ms
        spread_ms = belief.spread_ms([other], than=one)[0]
        want = norm.cdf(-WORTH * now_ms, slower_ms, spread_ms)
        assert outlook(belief, [other], one).chance == pytest.approx(want, abs=0.03)
    alone = [outlook(belief, [other], one).gain for other in others]
    assert outlook(belief, others, one).gain >= 0.99 * max(alone)


def test_no_plan_is_hoped_to_be_faster_than_its_layers_alone():
    """A crossing of which nothing is known may take long, and may not take less than nothing."""
    belief, truth, rng = _fitted(2, mixed=0)
    one, *others = [list(_observe(truth, plan, rng, 0)) for plan in _plans(rng, 12)]
    now_ms, least_ms = belief.latency_ms([one])[0], belief.least_ms(others).min()
    assert belief.draws_ms(others, than=one, count=999, rng=rng).min() < least_ms - now_ms
    assert outlook(belief, others, one).gain <= max(1 - least_ms / now_ms, 0)


@pytest.mark.parametrize("seed", range(3))
def test_what_cannot_be_trusted_counts_less(seed):
    rng = np.random.default_rng(seed)
    space = _space()
    truth = _truth(space, rng)
    profile = truth.layer_ms * rng.normal(1, 0.1, truth.layer_ms.shape)
    good = [o for plan in _plans(rng, 12) for o in _observe(truth, plan, rng, 0.01)]
    bad = [o for plan in _plans(rng, 6) for o in _observe(truth, plan, rng, 0.5)]
    unseen = _plans(rng, 50)

    def error(doubt):
        cost = fit(space, profile, good + [replace(o, doubt=doubt) for o in bad]).cost
        return np.mean([abs(cost.predict(plan) / truth.predict(plan) - 1) for plan in unseen])

    assert error(30.0) < 0.7 * error(1.0)


def test_a_prior_fills_in_what_was_not_measured():
    space = _space()
    truth = _truth(space, np.random.default_rng(3))
    plain = no_prior(space)
    first, second = np.array([edge.size_bytes / 1024 for edge in space.edges])[:2]
    rates = np.array(
        [[np.linalg.solve([[1, first], [1, second]], table[:2, f]) for f in range(DOMAINS)]
         for table in (truth.enter_ms, truth.leave_ms)]
    )  # fmt: skip
    prior = Prior(
        layer_ms=truth.layer_ms,
        layer_spread=np.full(truth.layer_ms.shape, 0.01),
        rates=rates,
        rate_spread=0.05 * np.abs(rates) + 1e-9,
    )
    profile = truth.layer_ms * np.random.default_rng(4).normal(1, 0.1, truth.layer_ms.shape)
    plans = _plans(np.random.default_rng(5), 20)

    def error(given):
        cost = fit(space, profile, [], given).cost
        return np.mean([abs(cost.predict(plan) / truth.predict(plan) - 1) for plan in plans])

    assert error(prior) < 0.01 < 0.05 < error(plain)


def test_without_measurements_the_profile_stands():
    space = _space()
    profile = np.random.default_rng(0).lognormal(0, 1, (LAYERS, DOMAINS))
    cost = fit(space, profile, []).cost
    np.testing.assert_array_equal(cost.layer_ms, profile)
    assert cost.predict([0] * LAYERS) == pytest.approx(profile[:, 0].sum())
