import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from qsdnn_envs.synthetic import instance
from qsdnn_envs.wrappers import NumericObservation

ENV_ID = "qsdnn_envs:qsdnn/Deployment-v0"


@pytest.mark.parametrize("state", ["frontier", "producers", "layer"])
@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
def test_gymnasium_accepts_it(state: str) -> None:
    cost = instance("inception", layers=12, permitted=0.6, seed=3)
    env = gymnasium.make(ENV_ID, cost=cost, state=state, masked="next")
    check_env(NumericObservation(env))


def test_numbers_tell_observations_apart() -> None:
    """As many different numeric observations as different observations, all from 0 to 1."""
    cost = instance("inception", layers=12, permitted=1.0, seed=3)
    env = gymnasium.make(ENV_ID, cost=cost)
    numeric = NumericObservation(env)
    rng = np.random.default_rng(0)
    pairs = set()
    for _ in range(20):
        observation, _ = env.reset()
        for _ in cost.space.layers:
            observation, *_ = env.step(rng.integers(8))
            shown = numeric.observation(observation)
            assert shown in numeric.observation_space
            pairs.add((observation.tobytes(), shown.tobytes()))
    assert len(pairs) == len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs})


def test_masks_have_the_name_that_maskable_agents_ask_for() -> None:
    cost = instance("chain", layers=4, permitted=0.5, seed=3)
    env = NumericObservation(gymnasium.make(ENV_ID, cost=cost))
    env.reset()
    assert (env.get_wrapper_attr("action_masks")() == cost.space.mask[0]).all()


def test_it_wants_this_environment() -> None:
    with pytest.raises(TypeError, match="not a DeploymentEnv"):
        NumericObservation(gymnasium.make("FrozenLake-v1"))
