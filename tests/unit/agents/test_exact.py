import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsdnn.agents.exact import Exact
from qsdnn.cost.model import CostModel
from qsdnn_envs.synthetic import instance


def brute_force(cost: CostModel) -> float:
    permitted = [np.flatnonzero(row) for row in cost.space.mask]
    return min(cost.predict(plan) for plan in itertools.product(*permitted))


def check_optimal(cost: CostModel) -> None:
    policy = Exact().learn(cost)
    cost.space.check(policy.choice)
    assert policy.proven
    assert policy.latency_ms == cost.predict(policy.choice)
    assert policy.latency_ms == pytest.approx(brute_force(cost))


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(("chain", "residual", "random")),
    st.integers(1, 5),
    st.integers(1, 4),
    st.floats(0.0, 3.0),
    st.floats(0.1, 1.0),
    st.integers(0, 2**32),
)
def test_it_equals_brute_force(
    topology: str, layers: int, families: int, crossing: float, permitted: float, seed: int
) -> None:
    check_optimal(
        instance(
            topology,
            layers=layers,
            primitives=max(3, families),
            families=families,
            crossing=crossing,
            permitted=permitted,
            seed=seed,
        )
    )


def test_it_equals_brute_force_on_thousands_of_graphs() -> None:
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        check_optimal(
            instance(
                "random",
                layers=int(rng.integers(3, 6)),
                primitives=3,
                families=int(rng.integers(2, 4)),
                crossing=float(rng.uniform(0, 2)),
                permitted=0.8,
                seed=seed,
            )
        )


def test_negative_crossings_are_not_pruned_away() -> None:
    for seed in range(30):
        drawn = instance("random", layers=5, primitives=3, families=3, crossing=1.0, seed=seed)
        shift_ms = 2.0 * drawn.enter_ms.mean()
        check_optimal(
            CostModel(
                space=drawn.space,
                layer_ms=drawn.layer_ms,
                leave_ms=drawn.leave_ms,
                enter_ms=drawn.enter_ms - shift_ms,
            )
        )


def test_a_beam_is_close_and_not_called_proven() -> None:
    cost = instance("inception", layers=60, crossing=1.0, seed=2)
    exact, beam = Exact().learn(cost), Exact(max_states=5).learn(cost)
    assert exact.proven and not beam.proven
    assert exact.latency_ms <= beam.latency_ms < 1.1 * exact.latency_ms


def test_it_is_linear_in_the_layers() -> None:
    """A chain of thousands of layers, where nothing may be exponential or quadratic."""
    policy = Exact().learn(instance("chain", layers=3000, crossing=0.5, seed=2))
    assert policy.proven and policy.choice.shape == (3000,)
