import subprocess
import sys

import numpy as np
import pytest

from qsdnn.agents import agent, names
from qsdnn.agents.q_learning.presets import PRESETS
from qsdnn.errors import InputError
from qsdnn_envs.synthetic import instance


@pytest.mark.parametrize("name", names())
def test_every_agent_keeps_the_contract(name: str) -> None:
    cost = instance("inception", layers=10, permitted=0.5, seed=1)
    told = []
    policy = agent(name).learn(cost, episodes=40, seed=0, on_episode=told.append)
    assert agent(name).name == name
    cost.space.check(policy.choice)
    assert np.array_equal(policy.candidates[0], policy.choice)
    assert policy.latency_ms == pytest.approx(cost.predict(policy.choice))
    assert len(told) == policy.episodes and policy.steps == policy.episodes * len(policy.choice)
    again = agent(name).learn(cost, episodes=40, seed=0)
    assert np.array_equal(again.candidates, policy.candidates)
    if name != "exact":
        assert not policy.proven


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown agent 'q-lerning'\ndid you mean 'q-learning'"):
        agent("q-lerning")
    with pytest.raises(InputError, match="unknown preset 'qsdnn2018'\ndid you mean 'qsdnn-2018'"):
        agent("q-learning", "qsdnn2018")
    with pytest.raises(InputError, match="unknown preset of agent 'random' 'metaqnn'"):
        agent("random", "metaqnn")


def test_names_cost_no_import() -> None:
    assert "exact" in names() and "default" in PRESETS
    code = "import sys, qsdnn.agents as agents; agents.names(); "
    code += "print({'numpy', 'gymnasium'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def epsilons(name: str, episodes: int) -> dict[float, int]:
    counts: dict[float, int] = {}
    for episode in range(episodes):
        epsilon = PRESETS[name].schedule.epsilon(episode, episodes)
        counts[epsilon] = counts.get(epsilon, 0) + 1
    assert list(counts) == sorted(counts, reverse=True)
    return counts


def test_published_staircases() -> None:
    tenths = [i / 10 for i in range(9, 0, -1)]
    assert epsilons("qsdnn-2018", 1000) == {1.0: 500, **dict.fromkeys(tenths, 50), 0.0: 50}
    assert epsilons("qsdnn-2018", 40) == {1.0: 20, **dict.fromkeys(tenths, 2), 0.0: 2}
    paper = [1500, 100, 100, 100, 150, 150, 150, 150, 150, 150]
    assert epsilons("metaqnn", 2700) == dict(zip([1.0, *tenths], paper, strict=True))
    assert epsilons("metaqnn", 54)[1.0] == 30
