"""What holds for every registered agent, and for anybody's who adds one."""

from dataclasses import replace

import numpy as np
import pytest

from qsdnn.agents import agent, names
from qsdnn.agents.base import Episode, Policy
from qsdnn.cost.model import CostModel
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Edge, Space
from qsdnn_envs.synthetic import instance

AT_ONCE = ("exact", "greedy")
"""They need no episodes, and count as one."""

REMEMBERING = ("annealing", "evolutionary", "exact", "q-learning", "uniform")
"""Those that are never worse than before when they are called again."""

EPISODES = 60

COSTS = {
    "branches": instance("inception", layers=12, permitted=0.5, seed=1),
    "chain": instance("chain", layers=30, primitives=12, domains=3, crossing=1.0, seed=2),
    "several readers": instance("random", layers=20, domains=8, crossing=0.5, seed=3),
    "one layer": instance("chain", layers=1, permitted=1.0, seed=4),
    "one primitive": instance("residual", layers=7, primitives=1, domains=1, seed=5),
    "one domain": instance("chain", layers=6, primitives=5, domains=1, seed=6),
    "crossings for nothing": instance("chain", layers=8, crossing=0.0, seed=7),
}


def forced() -> CostModel:
    """All but one primitive of each layer are masked."""
    cost = instance("residual", layers=10, primitives=6, domains=3, seed=8)
    mask = np.zeros_like(cost.space.mask)
    mask[np.arange(10), np.arange(10) % 6] = True
    return replace(
        cost,
        space=replace(cost.space, mask=mask),
        layer_ms=np.where(mask, np.nan_to_num(cost.layer_ms, posinf=1.0), np.inf),
    )


COSTS["all but one masked"] = forced()


def unjoined() -> CostModel:
    """No tensor joins the layers."""
    cost = instance("chain", layers=5, primitives=4, domains=2, permitted=1.0, seed=9)
    nothing = np.zeros((0, 2))
    space = replace(cost.space, edges=())
    return CostModel(space=space, layer_ms=cost.layer_ms, leave_ms=nothing, enter_ms=nothing)


COSTS["no tensors"] = unjoined()


def check(policy: Policy, cost: CostModel) -> None:
    for plan in policy.candidates:
        cost.space.check(plan)
    assert policy.choice.dtype == policy.candidates.dtype == np.int64
    assert np.array_equal(policy.choice, policy.candidates[0])
    assert len({plan.tobytes() for plan in policy.candidates}) == len(policy.candidates)
    latencies_ms = [cost.predict(plan) for plan in policy.candidates]
    assert policy.latency_ms == pytest.approx(latencies_ms[0], rel=1e-9)
    assert latencies_ms == pytest.approx(sorted(latencies_ms), rel=1e-9)
    assert policy.steps == policy.episodes * len(cost.space.layers)


@pytest.fixture(params=names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("which", COSTS)
def test_policies_are_sound(name: str, which: str) -> None:
    cost = COSTS[which]
    told: list[Episode] = []
    policy = agent(name).learn(cost, episodes=EPISODES, seed=0, on_episode=told.append)
    check(policy, cost)
    assert [episode.number for episode in told] == list(range(policy.episodes))
    least_ms = np.minimum.accumulate([episode.latency_ms for episode in told])
    assert [episode.best_ms for episode in told] == pytest.approx(least_ms)
    assert told[-1].best_ms == pytest.approx(policy.latency_ms)
    assert policy.seconds > 0


def test_nobody_beats_the_bound(name: str) -> None:
    for cost in COSTS.values():
        exact = agent("exact").learn(cost, episodes=1, seed=0)
        policy = agent(name).learn(cost, episodes=EPISODES, seed=0)
        assert exact.proven and exact.bound_ms == exact.latency_ms
        assert policy.latency_ms >= exact.bound_ms - 1e-9
        assert policy.proven == (name == "exact")
        assert np.isnan(policy.bound_ms) or policy.bound_ms <= policy.latency_ms


@pytest.mark.parametrize("episodes", [1, 2, 7, EPISODES])
def test_episodes_are_counted(name: str, episodes: int) -> None:
    policy = agent(name).learn(COSTS["branches"], episodes=episodes, seed=0)
    if name in AT_ONCE:
        assert policy.episodes == 1
    elif name == "uniform":
        assert policy.episodes == min(episodes, len(policy.candidates))
    else:
        assert policy.episodes == episodes


def test_no_episodes_are_refused(name: str) -> None:
    if name not in AT_ONCE:
        with pytest.raises(ValueError, match="at least 1"):
            agent(name).learn(COSTS["chain"], episodes=0, seed=0)


def test_the_seed_decides(name: str) -> None:
    cost = COSTS["several readers"]
    first, again, other = (
        agent(name).learn(cost, episodes=EPISODES, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.candidates, again.candidates)
    drawn = name not in (*AT_ONCE, "uniform")
    assert np.array_equal(first.candidates, other.candidates) != drawn


def test_it_goes_on_with_a_refitted_model(name: str) -> None:
    cost = COSTS["several readers"]
    rng = np.random.default_rng(0)
    refitted = replace(cost, layer_ms=cost.layer_ms * rng.uniform(0.97, 1.03, cost.layer_ms.shape))
    learner = agent(name)
    before = learner.learn(cost, episodes=EPISODES, seed=0)
    after = learner.learn(refitted, episodes=EPISODES, seed=1)
    check(after, refitted)
    if name in REMEMBERING:
        assert after.latency_ms <= refitted.predict(before.choice) + 1e-9


def test_it_goes_on_with_another_space(name: str) -> None:
    used, fresh = agent(name), agent(name)
    used.learn(COSTS["chain"], episodes=EPISODES, seed=0)
    cost = COSTS["branches"]
    policies = [one.learn(cost, episodes=EPISODES, seed=3) for one in (used, fresh)]
    assert np.array_equal(policies[0].candidates, policies[1].candidates)


def two_domains() -> CostModel:
    """A chain whose greedy plan crosses everywhere, and whose uniform plans are half slow."""
    primitives = tuple(
        Primitive(engine=f"e{i}", algorithm="a", precision=Precision.FP32, family=f"e{i}")
        for i in range(2)
    )
    layers = 12
    space = Space(
        layers=tuple(f"layer{i}" for i in range(layers)),
        primitives=primitives,
        mask=np.ones((layers, 2), dtype=np.bool_),
        edges=tuple(Edge(producer=i, consumers=(i + 1,), size_bytes=4) for i in range(layers - 1)),
    )
    odd = np.arange(layers) % 2
    first_ms = np.where(np.arange(layers) < layers // 2, 1.0 + 1.2 * odd, 3.0 - 1.1 * odd)
    return CostModel(
        space=space,
        layer_ms=np.stack([first_ms, np.full(layers, 2.0)], axis=1),
        leave_ms=np.full((layers - 1, 2), 0.4),
        enter_ms=np.full((layers - 1, 2), 0.4),
    )


@pytest.mark.parametrize("name", ["annealing", "evolutionary", "exact", "q-learning"])
def test_those_that_search_find_one_good_crossing(name: str) -> None:
    cost = two_domains()
    policy = agent(name).learn(cost, episodes=200, seed=0)
    assert policy.choice.tolist() == [0] * 5 + [1] * 7
    for plain in ("greedy", "uniform"):
        assert policy.latency_ms < 0.95 * agent(plain).learn(cost, episodes=9, seed=0).latency_ms
