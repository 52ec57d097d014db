"""Exploring: when random mixed plans are worth measuring."""

from types import SimpleNamespace

import numpy as np
import pytest

from qsdnn.cost.model import CostModel
from qsdnn.listener import Silent
from qsdnn.measure.measurer import Counts
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Space
from qsdnn.tuning.budget import unlimited
from qsdnn.tuning.start.initial_design import explore
from qsdnn.tuning.stopwatch import Stopwatch

SPACE = Space(
    layers=("a", "b", "c"),
    primitives=tuple(
        Primitive(engine=name, algorithm="auto", precision=Precision.FP32, family=name)
        for name in ("one", "other")
    ),
    mask=np.ones((3, 2), bool),
    edges=(),
)


class Bench:
    """Notes what is to be measured."""

    def __init__(self):
        self.space, self.config = SPACE, SimpleNamespace(seed=0)
        self.listener, self.stopwatch = Silent(), Stopwatch()
        self.pace = SimpleNamespace(group_s=1.0)
        self.measured = []

    def in_groups(self, choices, anchors):
        self.measured += [choice.tolist() for choice in choices]
        return []


def _history(layer_ms):
    cost = CostModel(
        space=SPACE, layer_ms=np.array(layer_ms, float), leave_ms=np.zeros((0, 2)),
        enter_ms=np.zeros((0, 2)),
    )  # fmt: skip
    belief = SimpleNamespace(cost=cost)
    return SimpleNamespace(
        belief=lambda: belief,
        belief_without_prior=lambda: belief,
        prior=None,
        trials=[SimpleNamespace(key=np.zeros(3, np.int64).tobytes())],
        add=lambda trials, random=False: None,
    )


@pytest.mark.parametrize(
    ("layer_ms", "explored"),
    [
        ([[1, 2], [1, 3], [1, 1.5]], False),  # one engine is ahead in every layer
        ([[1, 2], [1, 3], [1, 0.99]], False),  # to mix gains 1 % of a layer
        ([[1, 2], [1, 3], [1, 0.9]], True),
    ],
)
def test_random_plans_are_measured_where_mixing_may_gain(layer_ms, explored):
    bench = Bench()
    best = SimpleNamespace(choice=np.zeros(3, np.int64))
    profile = SimpleNamespace(best=(best,), layer_ms=np.array(layer_ms, float))
    explore(bench, profile, _history(layer_ms), unlimited(Counts()))
    assert bool(bench.measured) is explored
