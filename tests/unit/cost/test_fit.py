"""The fit finds the costs that made the measurements."""

from itertools import pairwise

import numpy as np
import pytest

from qsdnn.cost.fit import Observation, fit
from qsdnn.cost.model import CostModel
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Edge, Space

LAYERS, FAMILIES = 12, 3


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
        mask=np.ones((LAYERS, FAMILIES), bool),
        edges=edges,
        computes=np.arange(LAYERS) % 2 == 0,
    )


def _truth(space, rng):
    kib = np.array([edge.size_bytes / 1024 for edge in space.edges])
    rates = rng.uniform(0.0001, 0.0005, (2, FAMILIES))
    return CostModel(
        space=space,
        layer_ms=rng.lognormal(0, 1, (LAYERS, FAMILIES)),
        enter_ms=0.02 + np.outer(kib, rates[0]),
        leave_ms=0.01 + np.outer(kib, rates[1]),
    )


def _observe(truth, choice, rng, noise):
    """The segments of a plan of a chain, and their times."""
    cuts = [0, *(np.flatnonzero(np.diff(choice)) + 1), len(choice)]
    for start, end in pairwise(cuts):
        family = int(choice[start])
        entering = (start - 1,) if start else ()
        leaving = (end - 1,) if end < len(choice) else ()
        ms = truth.layer_ms[np.arange(start, end), family].sum()
        ms += sum(truth.enter_ms[t, family] for t in entering)
        ms += sum(truth.leave_ms[t, family] for t in leaving)
        yield Observation(
            family=family,
            layers=tuple(range(start, end)),
            primitives=(family,) * (end - start),
            entering=entering,
            leaving=leaving,
            ms=ms * rng.normal(1, noise),
        )


@pytest.mark.parametrize("seed", range(5))
def test_predicts_unseen_plans(seed):
    rng = np.random.default_rng(seed)
    space = _space()
    truth = _truth(space, rng)
    profile = truth.layer_ms * rng.normal(1, 0.1, truth.layer_ms.shape)
    plans = [np.full(LAYERS, family) for family in range(FAMILIES)]
    plans += [rng.integers(0, FAMILIES, LAYERS) for _ in range(25)]
    seen = [o for plan in plans for o in _observe(truth, plan, rng, 0.01)]
    model = fit(space, profile, seen)
    unseen = [rng.integers(0, FAMILIES, LAYERS) for _ in range(50)]
    errors = [abs(model.predict(plan) / truth.predict(plan) - 1) for plan in unseen]
    untrained = CostModel(
        space=space, layer_ms=profile, enter_ms=truth.enter_ms * 0, leave_ms=truth.leave_ms * 0
    )
    before = [abs(untrained.predict(plan) / truth.predict(plan) - 1) for plan in unseen]
    assert np.mean(errors) < 0.03
    assert np.mean(errors) < 0.3 * np.mean(before)
    assert (model.enter_ms >= 0).all() and (model.leave_ms >= 0).all()


def test_without_measurements_the_profile_stands():
    space = _space()
    profile = np.random.default_rng(0).lognormal(0, 1, (LAYERS, FAMILIES))
    model = fit(space, profile, [])
    np.testing.assert_array_equal(model.layer_ms, profile)
    assert model.predict([0] * LAYERS) == pytest.approx(profile[:, 0].sum())
