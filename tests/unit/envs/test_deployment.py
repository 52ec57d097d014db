"""The environment: its returns are latencies, whichever way it is stepped."""

import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from qsdnn.cost.model import CostModel
from qsdnn.errors import InputError
from qsdnn_envs.synthetic import TOPOLOGIES, instance

ENV_ID = "qsdnn_envs:qsdnn/Deployment-v0"
STATES = ("frontier", "producers", "layer")
REWARDS = ("cost", "regret", "final")

costs = st.builds(
    instance,
    st.sampled_from(TOPOLOGIES),
    layers=st.integers(1, 14),
    primitives=st.integers(4, 6),
    domains=st.integers(1, 4),
    crossing=st.floats(0.0, 2.0),
    permitted=st.floats(0.1, 1.0),
    seed=st.integers(0, 2**32),
)


def random_plan(cost: CostModel, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array([rng.choice(np.flatnonzero(row)) for row in cost.space.mask])


def walk(cost: CostModel, plan: np.ndarray, **options: str) -> tuple[list, list, dict]:
    env = gymnasium.make(ENV_ID, cost=cost, **options)
    observation, info = env.reset()
    observations, rewards = [observation], []
    for layer, action in enumerate(plan):
        assert (info["action_mask"] == cost.space.mask[layer]).all()
        observation, reward, terminated, truncated, info = env.step(action)
        assert (terminated, truncated) == (layer == len(plan) - 1, False)
        observations.append(observation)
        rewards.append(reward)
    return observations, rewards, info


@settings(deadline=None, max_examples=60)
@given(costs, st.integers(0, 2**32), st.sampled_from(STATES))
def test_the_return_is_minus_the_latency(cost: CostModel, seed: int, state: str) -> None:
    plan = random_plan(cost, seed)
    latency_ms = cost.predict(plan)
    fastest_ms = cost.layer_ms.min(axis=1).sum()
    for reward, expected in (
        ("cost", -latency_ms),
        ("final", -latency_ms),
        ("regret", fastest_ms - latency_ms),
    ):
        _, rewards, info = walk(cost, plan, state=state, reward=reward)
        assert sum(rewards) == pytest.approx(expected)
        assert info["latency_ms"] == pytest.approx(latency_ms)
        if reward == "regret":
            assert max(rewards) <= 0
        if reward == "final":
            assert not any(rewards[:-1])


@settings(deadline=None, max_examples=40)
@given(costs, st.integers(0, 2**32), st.sampled_from(STATES), st.sampled_from(REWARDS))
def test_vector_steps_are_single_steps(cost: CostModel, seed: int, state: str, reward: str) -> None:
    plans = np.stack([random_plan(cost, seed + i) for i in range(3)])
    walks = [walk(cost, plan, state=state, reward=reward) for plan in plans]
    env = gymnasium.make_vec(ENV_ID, num_envs=3, cost=cost, state=state, reward=reward)
    observations, info = env.reset()
    for _ in range(2):  # the second round begins by the autoreset of the first
        for layer in range(plans.shape[1]):
            assert (observations == [w[0][layer] for w in walks]).all()
            assert (info["action_mask"] == cost.space.mask[layer]).all()
            observations, rewards, terminated, _, info = env.step(plans[:, layer])
            assert rewards == pytest.approx([w[1][layer] for w in walks])
            assert (terminated == (layer == plans.shape[1] - 1)).all()
        assert (observations == [w[0][-1] for w in walks]).all()
        assert info["latency_ms"] == pytest.approx([w[2]["latency_ms"] for w in walks])
        assert observations in env.observation_space
        observations, rewards, terminated, _, info = env.step(plans[:, 0])
        assert not rewards.any() and not terminated.any()


@settings(deadline=None, max_examples=60)
@given(costs, st.integers(0, 2**32))
def test_the_frontier_is_markov(cost: CostModel, seed: int) -> None:
    """From equal observations, equal choices cost the same, whatever came before."""
    layers = len(cost.space.layers)
    seen: dict[bytes, list[float]] = {}
    tail = random_plan(cost, seed)
    cut = layers // 2
    for i in range(8):
        plan = random_plan(cost, seed + i)
        plan[cut:] = tail[cut:]
        observations, rewards, _ = walk(cost, plan)
        later = seen.setdefault(observations[cut].tobytes(), rewards[cut:])
        assert rewards[cut:] == pytest.approx(later)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_gymnasium_accepts_it(topology: str, reward: str, state: str) -> None:
    """Its checker draws actions without a look at the mask."""
    cost = instance(topology, layers=12, permitted=0.6, seed=3)
    options = {"state": state, "reward": reward}
    env = gymnasium.make(ENV_ID, cost=cost, masked="next", render_mode="ansi", **options)
    check_env(env.unwrapped)


def test_a_forbidden_action_is_refused_or_stands_for_the_next() -> None:
    cost = instance("chain", layers=3, primitives=5, permitted=0.5, seed=1)
    forbidden = int(np.flatnonzero(~cost.space.mask[0])[0])
    for bad in (forbidden, -1, 5):
        env = gymnasium.make(ENV_ID, cost=cost, disable_env_checker=True)
        env.reset()
        with pytest.raises(InvalidAction, match=rf"layer 0 'layer0' may not take action {bad}"):
            env.step(bad)
    env = gymnasium.make(ENV_ID, cost=cost, masked="next")
    env.reset()
    for layer in range(3):
        env.step(forbidden)
        taken = env.unwrapped.episode.choices[0, layer]
        after = np.flatnonzero(np.roll(cost.space.mask[layer], -forbidden))[0]
        assert taken == (forbidden + after) % 5


def test_misuse_is_named() -> None:
    cost, other = instance("chain", layers=3, seed=1), instance("chain", layers=4, seed=1)
    with pytest.raises(InputError, match="did you mean 'frontier'"):
        gymnasium.make(ENV_ID, cost=cost, state="frontiers")
    with pytest.raises(InputError, match="unknown reward 'latency'"):
        gymnasium.make_vec(ENV_ID, cost=cost, reward="latency")
    with pytest.raises(InputError, match="is not for this space"):
        gymnasium.make(ENV_ID, cost=cost, space=other.space)
    with pytest.raises(InvalidAction, match="one action for each of 2"):
        gymnasium.make_vec(ENV_ID, num_envs=2, cost=cost).step(np.zeros(3, dtype=np.int64))
    env = gymnasium.make(ENV_ID, cost=cost, space=cost.space, masked="next").unwrapped
    for _ in range(3):
        env.step(0)
    with pytest.raises(ResetNeeded):
        env.step(0)


def test_it_draws_the_plan_so_far() -> None:
    cost = instance("chain", layers=3, permitted=1.0, seed=1)
    env = gymnasium.make(ENV_ID, cost=cost, render_mode="ansi")
    env.reset()
    env.step(2)
    drawn = env.render()
    assert drawn.splitlines()[0] == f"layer0  {cost.space.primitives[2]}"
    assert drawn.splitlines()[1] == f"1/3 layers, {cost.layer_ms[0, 2]:.3f} ms"


def test_registering_again_is_harmless() -> None:
    import qsdnn_envs

    qsdnn_envs.register()
    assert gymnasium.spec("qsdnn/Deployment-v0").vector_entry_point is not None
