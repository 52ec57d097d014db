"""The environment `qsdnn/Deployment-v0`: many episodes at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import InvalidAction
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from qsdnn.cost.model import CostModel
from qsdnn.space import Space
from qsdnn_envs.lockstep import Lockstep, Masked, Reward, State, check_space, parse


class DeploymentVectorEnv(VectorEnv[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]):
    """`qsdnn_envs.deployment.DeploymentEnv`, stepped as arrays: the fast path for agents.

    The episodes have equal lengths, so all are at the same layer and end together; the step after
    that begins new ones (``AutoresetMode.NEXT_STEP``). Spaces, rewards, information and arguments
    are those of the single environment, batched.

    Args:
        num_envs: The number of episodes that run side by side.
        cost: The cost model that decides what each choice costs; `DeploymentEnv` explains all the
            arguments.
        space: The search space of `cost`; None takes it from there.
        state: What an observation shows.
        reward: How the latency is spread over the rewards of an episode.
        masked: What an action that the layer may not take means.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  declared thus by the base class
        "render_modes": [],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        cost: CostModel,
        space: Space | None = None,
        state: str = "frontier",
        reward: str = "cost",
        masked: str = "error",
    ) -> None:
        check_space(space, cost)
        self.num_envs = num_envs
        self.episodes = Lockstep(
            cost,
            num_envs,
            state=parse(State, "state", state),
            reward=parse(Reward, "reward", reward),
            masked=parse(Masked, "masked", masked),
        )
        self.single_observation_space = self.episodes.observation_space()
        self.single_action_space = spaces.Discrete(len(cost.space.primitives))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Begins all episodes anew; the seed and the options change nothing."""
        super().reset(seed=seed)
        self.episodes.reset()
        return self.episodes.observe(), self._info()

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[
        NDArray[np.int64], NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Chooses a primitive for the layer, in each episode.

        Raises:
            InvalidAction: A layer may not take the chosen primitive, or there is not one action for
                each episode.
        """
        if np.shape(actions) != (self.num_envs,):
            raise InvalidAction(
                f"{np.shape(actions)} is not one action for each of {self.num_envs}"
            )
        if self.episodes.ended:
            self.episodes.reset()
            rewards = np.zeros(self.num_envs)
        else:
            rewards = self.episodes.step(np.asarray(actions, dtype=np.int64))
        ended = np.full(self.num_envs, self.episodes.ended)
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        return self.episodes.observe(), rewards, ended, truncated, self._info()

    def _info(self) -> dict[str, Any]:
        """The information of the single environment, batched in Gymnasium's way."""
        there = np.ones(self.num_envs, dtype=np.bool_)
        return {
            "action_mask": np.tile(self.episodes.mask(), (self.num_envs, 1)),
            "_action_mask": there,
            "latency_ms": self.episodes.latency_ms.copy(),
            "_latency_ms": there.copy(),
        }
