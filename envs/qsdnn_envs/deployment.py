"""The environment `qsdnn/Deployment-v0`: one episode at a time, and many at once."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import InvalidAction
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from qsdnn.cost.model import CostModel
from qsdnn.space import Space
from qsdnn_envs.lockstep import Lockstep, Masked, Reward, State, check_space, parse


class DeploymentEnv(gymnasium.Env[NDArray[np.int64], np.int64]):
    """Chooses a primitive for each layer of a network, so that the network runs fast.

    ## Description
    A network is a graph of layers; each can be run by several primitives, which differ in speed.
    Primitives belong to domains, and a tensor that passes from one domain to another has to be
    handed over. An episode walks through the layers in topological order and chooses one
    primitive for each. The environment reads a cost model and never a board.

    ## Action Space
    `Discrete(P)`: the index of a primitive in `space.primitives`. Not every layer may take every
    primitive: see *Information*. With ``masked="error"`` a primitive that the layer may not take
    is refused; with ``masked="next"``, for agents that know no masks, it stands for the next one
    (cyclically) that it may.

    ## Observation Space
    `MultiDiscrete`; the first number is the index of the layer that is to be chosen for (the
    number of layers at the end), what follows depends on `state`:

    | `state` | what follows |
    |---|---|
    | ``"frontier"`` | one number for each open tensor, those read soonest first (see below) |
    | ``"producers"`` | domain + 1 of each distinct direct producer of the layer; 0 for none |
    | ``"layer"`` | nothing |

    A tensor is open from the layer that makes it to the last one that reads it; there are as many
    numbers as tensors are ever open at once. The number is 0 where there is no tensor, else
    ``1 + domain + F · entered``: the domain of its producer, and the bit set of the other domains
    that have entered it, of F. Domains stand for primitives here because only they change what
    later choices cost. ``"frontier"`` is thereby Markov; the other two hide what some later costs
    depend on. Open tensors are ordered by the layer that reads them next, then by their index in
    `space.edges`. So the tensors that the layer itself reads come first, each in a known place.

    ## Starting State
    The first layer, nothing open. There is no randomness in this environment.

    ## Rewards
    A choice adds the layer's own latency and, for each tensor the layer reads that was made in
    another domain: the cost of leaving that domain, if no other domain has read the tensor yet,
    and the cost of entering this one, if it is the first of its domain to read it.

    - ``reward="cost"``: minus the milliseconds added; the return is minus the plan's latency.
    - ``reward="regret"``: the same, plus the latency of the layer's fastest primitive. That is
      shaping by the potential Φ(l) = −Σ_{k≥l} min_p layer_ms[k, p] [1]: the return differs from
      the above by a constant, the best plans stay the best, and a value of zero is a bound that
      no plan exceeds.
    - ``reward="final"``: zero up to the last layer, then minus the plan's latency, as where only
      whole networks can be measured [2].

    ## Episode End
    Terminates after the last layer. Never truncates.

    ## Information
    `reset` and `step` return:

    - ``action_mask``: (P,) int8, 1 for the primitives the layer may take (all 1 at the end).
    - ``latency_ms``: milliseconds added so far; at the end, the latency of the plan.

    ## Arguments
    ```python
    gymnasium.make("qsdnn_envs:qsdnn/Deployment-v0", cost=cost, state="frontier", reward="cost")
    gymnasium.make_vec("qsdnn_envs:qsdnn/Deployment-v0", num_envs=16, cost=cost)
    ```

    | argument | default | |
    |---|---|---|
    | `cost` | | the `qsdnn.cost.model.CostModel` |
    | `space` | `cost.space` | the `qsdnn.space.Space` it is for |
    | `state` | ``"frontier"`` | see *Observation Space* |
    | `reward` | ``"cost"`` | see *Rewards* |
    | `masked` | ``"error"`` | see *Action Space* |

    ## References
    [1] Ng, Harada, Russell: Policy invariance under reward transformations. ICML 1999.
    [2] Baker, Gupta, Naik, Raskar: Designing neural network architectures using reinforcement
    learning. ICLR 2017.

    ## Version History
    * v0: first release
    """

    # Not a ClassVar: the base class declares it thus.
    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(
        self,
        *,
        cost: CostModel,
        space: Space | None = None,
        state: str = "frontier",
        reward: str = "cost",
        masked: str = "error",
        render_mode: str | None = None,
    ) -> None:
        check_space(space, cost)
        self.episode = Lockstep(
            cost,
            1,
            state=parse(State, "state", state),
            reward=parse(Reward, "reward", reward),
            masked=parse(Masked, "masked", masked),
        )
        self.observation_space = self.episode.observation_space()
        self.action_space = spaces.Discrete(len(cost.space.primitives))
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Begins an episode; the seed and the options change nothing."""
        super().reset(seed=seed)
        self.episode.reset()
        return self.episode.observe()[0], self._info()

    def step(self, action: np.int64) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        """Chooses a primitive for the layer.

        Raises:
            InvalidAction: The layer may not take that primitive.
            ResetNeeded: The episode has ended.
        """
        reward = self.episode.step(np.array([action], dtype=np.int64))
        observation = self.episode.observe()[0]
        return observation, float(reward[0]), self.episode.ended, False, self._info()

    def render(self) -> str | None:
        """The plan so far: a line a layer, and what it costs."""
        if self.render_mode is None:
            return None
        space = self.episode.walk.space
        chosen = zip(space.layers, self.episode.choices[0, : self.episode.layer], strict=False)
        lines = [f"{layer}  {space.primitives[action]}" for layer, action in chosen]
        total = f"{self.episode.layer}/{len(space.layers)} layers"
        return "\n".join([*lines, f"{total}, {self.episode.latency_ms[0]:.3f} ms"])

    def action_masks(self) -> NDArray[np.bool_]:
        """The mask (P,) of what the layer may take, as sb3-contrib's MaskablePPO asks for it."""
        return self.episode.mask().astype(np.bool_)

    def _info(self) -> dict[str, Any]:
        return {
            "action_mask": self.episode.mask(),
            "latency_ms": float(self.episode.latency_ms[0]),
        }


class DeploymentVectorEnv(VectorEnv[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]):
    """`DeploymentEnv`, stepped as arrays: the fast path for agents.

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
