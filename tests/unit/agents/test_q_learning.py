import itertools
from dataclasses import replace

import numpy as np
import pytest

from qsdnn.agents import agent
from qsdnn.agents.base import Episode
from qsdnn.agents.exact.solver import Exact
from qsdnn.agents.q_learning.learner import QLearning
from qsdnn.agents.q_learning.presets import PRESETS, Initial, StepCredit
from qsdnn.cost.model import CostModel
from qsdnn_envs.synthetic import HELD_OUT, drawn, instance


@pytest.mark.parametrize("topology", ["chain", "residual", "random"])
@pytest.mark.parametrize("seed", range(3))
def test_it_equals_brute_force_on_small_graphs(topology: str, seed: int) -> None:
    cost = instance(topology, layers=6, primitives=4, domains=3, permitted=0.7, seed=seed)
    permitted = [np.flatnonzero(row) for row in cost.space.mask]
    best_ms = min(cost.predict(plan) for plan in itertools.product(*permitted))
    policy = QLearning().learn(cost, episodes=300, seed=seed)
    assert policy.latency_ms == pytest.approx(best_ms)


@pytest.mark.parametrize(
    ("topology", "layers"),
    [
        ("chain", 100),
        ("residual", 60),
        ("inception", 40),
        ("series-parallel", 60),
        ("irregular", 60),
    ],
)
def test_it_reaches_the_optimum_of_real_sizes(topology: str, layers: int) -> None:
    cost = instance(topology, layers=layers, primitives=6, domains=4, crossing=0.5, seed=11)
    policy = QLearning().learn(cost, episodes=600, seed=0)
    exact = Exact().learn(cost)
    assert exact.proven
    assert policy.latency_ms <= 1.001 * exact.latency_ms


@pytest.mark.slow
def test_it_reaches_the_optimum_of_wide_instances_that_settings_were_not_tuned_on() -> None:
    """Of 500 of them see experiments/agents.py."""
    for seed in HELD_OUT[:3]:
        cost = drawn(seed)
        policy = QLearning().learn(cost, episodes=1000, seed=0)
        assert policy.latency_ms <= 1.001 * Exact().learn(cost).bound_ms


def test_credit_along_tensors_learns_faster_than_credit_along_steps() -> None:
    cost = instance("inception", layers=40, primitives=6, domains=4, crossing=0.5, seed=3)
    steps = StepCredit(state="frontier", alpha=1.0, gamma=1.0, replay=16, initial=Initial.ZERO)
    by_steps = replace(PRESETS["default"], credit=steps)
    found = [
        QLearning(settings).learn(cost, episodes=300, seed=0).latency_ms
        for settings in (PRESETS["default"], by_steps)
    ]
    assert found[0] < found[1]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_beat_random_search(name: str) -> None:
    cost = instance("residual", layers=20, permitted=0.6, seed=4)
    told: list[Episode] = []
    policy = agent("q-learning", name).learn(cost, episodes=300, seed=0, on_episode=told.append)
    at_random = agent("random").learn(cost, episodes=300, seed=0)
    assert policy.latency_ms < at_random.latency_ms
    assert [episode.number for episode in told] == list(range(300)) and policy.episodes == 300
    assert told[-1].best_ms == min(episode.latency_ms for episode in told) == policy.latency_ms
    check_candidates(policy.candidates, cost)


def check_candidates(candidates: np.ndarray, cost: CostModel) -> None:
    """Permitted, distinct, best first."""
    for plan in candidates:
        cost.space.check(plan)
    assert len({plan.tobytes() for plan in candidates}) == len(candidates) > 1
    latencies_ms = [cost.predict(plan) for plan in candidates]
    assert latencies_ms == pytest.approx(sorted(latencies_ms))


def test_the_seed_decides() -> None:
    cost = instance("random", layers=15, crossing=1.0, seed=5)
    policies = [QLearning().learn(cost, episodes=40, seed=seed) for seed in (1, 1, 2)]
    assert np.array_equal(policies[0].candidates, policies[1].candidates)
    assert not np.array_equal(policies[0].candidates, policies[2].candidates)


@pytest.mark.parametrize("episodes", [1, 5, 16, 33])
def test_it_takes_as_many_episodes_as_it_is_given(episodes: int) -> None:
    cost = instance("chain", layers=5, seed=5)
    policy = QLearning().learn(cost, episodes=episodes, seed=0)
    assert (policy.episodes, policy.steps) == (episodes, 5 * episodes)


def test_it_starts_from_what_it_learned_for_the_same_space() -> None:
    cost = instance("residual", layers=60, crossing=0.5, seed=6)
    rng = np.random.default_rng(0)
    refitted = replace(cost, layer_ms=cost.layer_ms * rng.uniform(0.97, 1.03, cost.layer_ms.shape))
    warm, cold = QLearning(), QLearning()
    before = warm.learn(cost, episodes=600, seed=0)
    after = warm.learn(refitted, episodes=30, seed=1)
    assert after.latency_ms <= refitted.predict(before.choice)
    assert after.latency_ms < cold.learn(refitted, episodes=30, seed=1).latency_ms


def test_another_space_is_learned_afresh() -> None:
    used, fresh = QLearning(), QLearning()
    used.learn(instance("chain", layers=5, seed=1), episodes=50, seed=0)
    cost = instance("residual", layers=9, primitives=5, seed=2)
    policies = [learner.learn(cost, episodes=50, seed=3) for learner in (used, fresh)]
    assert np.array_equal(policies[0].candidates, policies[1].candidates)


def test_no_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        QLearning().learn(instance("chain", layers=3), episodes=0, seed=0)
