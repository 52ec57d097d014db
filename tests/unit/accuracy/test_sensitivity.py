"""Each layer is asked about alone, what saves most first."""

import numpy as np
import pytest

from qsdnn.accuracy.noise import questions
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Space


@pytest.fixture
def space():
    def primitive(engine, algorithm, precision):
        return Primitive(engine=engine, algorithm=algorithm, precision=precision, family=engine)

    mask = np.ones((3, 5), bool)
    mask[1, 3:] = False  # the second layer has no int8, and a only in one algorithm
    mask[1, 0] = False
    return Space(
        layers=("one", "two", "three"),
        primitives=(
            primitive("a", "x", Precision.FP32),
            primitive("a", "y", Precision.FP32),
            primitive("b", "x", Precision.FP32),
            primitive("a", "x", Precision.INT8),
            primitive("a", "y", Precision.INT8),
        ),
        mask=mask,
        edges=(),
    )


def test_one_layer_changes_and_the_rest_is_fp32_of_that_engine(space):
    time_ms = np.array([[3, 2, 1, 0.5, 0.4], [9, 9, 1, 9, 9], [5, 6, 1, 2, np.nan]], float)
    asked = questions(space, time_ms)
    assert [(q.layer, q.primitive) for q in asked] == [(2, 3), (0, 4)]  # 3 ms, then 1.6 ms
    assert [q.saved_ms for q in asked] == pytest.approx([3.0, 1.6])
    assert [q.plan.tolist() for q in asked] == [[1, 1, 3], [4, 1, 0]]


def test_nothing_needs_to_be_known_of_the_times(space):
    asked = questions(space, np.full((3, 5), np.nan))
    assert sorted(q.layer for q in asked) == [0, 2]
    assert all(np.isnan(q.saved_ms) for q in asked)
