import numpy as np
import pytest

from qsdnn.agents.experience import make_env, walk
from qsdnn.agents.q_learning.learner import random_actions
from qsdnn.agents.q_learning.payoff import NONE, Payoffs, wiring_of
from qsdnn.agents.q_learning.presets import TensorCredit
from qsdnn.agents.q_learning.tensor_values import TensorValues
from qsdnn.cost.model import CostModel
from qsdnn.space import Edge, Space
from qsdnn_envs.synthetic import instance

CREDIT = TensorCredit(alpha=1.0, replay=3, sweeps=2, optimism=(0.0,))


def shuffled(cost: CostModel, batches: int, values: TensorValues) -> None:
    """Walks and learns from random plans."""
    rng = np.random.default_rng(0)
    env = make_env(cost, 16, reward="regret")

    def act(step: int, observations: np.ndarray, mask: np.ndarray) -> np.ndarray:
        values.see(step, observations, mask)
        return random_actions(rng, mask)

    for _ in range(batches):
        values.learn(walk(env, act), rng)
    env.close()


def greedy(cost: CostModel, values: TensorValues) -> np.ndarray:
    env = make_env(cost, 1, reward="regret")

    def act(step: int, observations: np.ndarray, mask: np.ndarray) -> np.ndarray:
        values.see(step, observations, mask)
        return np.where(mask != 0, values.values(step, mask), -np.inf).argmax(axis=1)

    plan = walk(env, act).actions[0]
    env.close()
    return plan


def test_wiring_hands_a_tensor_from_reader_to_reader() -> None:
    edges = (
        Edge(producer=0, consumers=(1, 3), size_bytes=4),
        Edge(producer=1, consumers=(3,), size_bytes=4),
    )
    wiring = wiring_of(space_of_edges(4, edges))
    assert wiring.made == ((0,), (2,), (), ())
    assert wiring.entering == ((), (0,), (), (1, 2))
    assert wiring.onward == ((), (1,), (), (NONE, NONE))
    assert wiring.ends == ((1, 0), (3, 0), (3, 1))


def space_of_edges(layers: int, edges: tuple[Edge, ...]) -> Space:
    space = instance("chain", layers=layers).space
    return Space(layers=space.layers, primitives=space.primitives, mask=space.mask, edges=edges)


@pytest.mark.parametrize("topology", ["chain", "residual", "series-parallel", "irregular"])
def test_the_order_of_observations_is_that_of_the_wiring(topology: str) -> None:
    """What payoffs take for a tensor's code is that tensor's: its maker's domain comes back."""
    cost = instance(topology, layers=30, seed=3)
    space, wiring = cost.space, wiring_of(cost.space)
    readers = {
        wiring.entering[reader][wiring.ends[passage][1]]: maker
        for maker, made in enumerate(wiring.made)
        for passage in made
        for reader in (wiring.ends[passage][0],)
    }
    env = make_env(cost, 1)
    rng = np.random.default_rng(0)
    chosen: list[int] = []

    def act(step: int, observations: np.ndarray, mask: np.ndarray) -> np.ndarray:
        for place, passage in enumerate(wiring.entering[step]):
            if passage in readers:
                domain = (observations[0, 1 + place] - 1) % len(space.domains)
                assert domain == space.domain_of[chosen[readers[passage]]]
        action = random_actions(rng, mask)
        chosen.append(int(action[0]))
        return action

    walk(env, act)
    env.close()


def test_payoffs_explain_every_reward() -> None:
    """Rewards are sums, so replay finds entries that give them all back, and those of new plans."""
    cost = instance("irregular", layers=25, primitives=5, domains=3, seed=4)
    values = TensorValues(cost.space, TensorCredit(alpha=1.0, replay=20, sweeps=1, optimism=(0.0,)))
    shuffled(cost, 40, values)
    payoffs: Payoffs = values._payoffs
    env = make_env(cost, 64, reward="regret")
    rng = np.random.default_rng(9)
    errors = []

    def act(step: int, observations: np.ndarray, mask: np.ndarray) -> np.ndarray:
        ids.append(payoffs.ids(step, observations))
        return random_actions(rng, mask)

    ids: list = []
    batch = walk(env, act)
    env.close()
    domain = cost.space.domain_of[batch.actions]
    for step, met in enumerate(ids):
        expected = payoffs.own()[step, batch.actions[:, step]]
        for passage, code in zip(wiring_of(cost.space).entering[step], met, strict=True):
            expected = expected + payoffs.crossing(passage)[code, domain[:, step]]
        errors.append(np.abs(expected - batch.rewards[:, step]))
    spread = batch.rewards.std()
    assert np.median(errors) < 1e-3 * spread and np.mean(errors) < 0.05 * spread


def test_greedy_on_a_chain_is_optimal_once_all_is_known() -> None:
    """On a chain the messages are the value function: no search is needed."""
    cost = instance("chain", layers=12, primitives=4, domains=3, crossing=1.0, seed=5)
    values = TensorValues(cost.space, CREDIT)
    shuffled(cost, 40, values)
    best = np.full(3, np.inf)  # dynamic programming over the domains
    for layer in range(12):
        own = [
            cost.layer_ms[layer, cost.space.mask[layer] & (cost.space.domain_of == f)].min(
                initial=np.inf
            )
            for f in range(3)
        ]
        if layer == 0:
            best = np.array(own)
            continue
        pays = cost.leave_ms[layer - 1][:, None] + cost.enter_ms[layer - 1][None, :]
        np.fill_diagonal(pays, 0.0)
        best = (best[:, None] + pays).min(axis=0) + own
    assert cost.predict(greedy(cost, values)) == pytest.approx(best.min(), rel=1e-6)


def test_memory_is_linear_in_the_layers() -> None:
    """Table entries a layer, after as many random plans, whatever the depth."""
    entries = []
    for layers in (30, 300):
        cost = instance("residual", layers=layers, primitives=6, seed=1)
        values = TensorValues(cost.space, CREDIT)
        shuffled(cost, 10, values)
        entries.append(len(values._payoffs) / len(cost.space.layers))
    assert entries[1] == pytest.approx(entries[0], rel=0.1)


def test_hope_looks_past_entries_that_were_met_with_crossings_only() -> None:
    """Two layers; the second's domain 1 was tried after domain 0 only, where it is dear."""
    space = instance("chain", layers=2, primitives=2, domains=2, permitted=1.0).space
    cost = CostModel(
        space=space,
        layer_ms=np.array([[1.0, 1.05], [1.0, 0.9]]),
        leave_ms=np.full((1, 2), 2.0),
        enter_ms=np.full((1, 2), 2.0),
    )
    plans = np.array([[0, 0], [0, 1], [1, 0]])
    found = []
    for optimism in (0.0, 1.0):
        credit = TensorCredit(alpha=1.0, replay=3, sweeps=2, optimism=(optimism,))
        values = TensorValues(space, credit)
        env = make_env(cost, len(plans), reward="regret")

        def act(step, observations, mask, values=values):
            values.see(step, observations, mask)
            return plans[:, step]

        values.learn(walk(env, act), np.random.default_rng(0))
        env.close()
        found.append(greedy(cost, values).tolist())
    assert found == [[0, 0], [1, 1]]
