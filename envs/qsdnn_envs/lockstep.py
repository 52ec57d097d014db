"""Episodes in lockstep: what the single and the vector environment have in common."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import numpy as np
from gymnasium import spaces
from gymnasium.error import InvalidAction, ResetNeeded
from numpy.typing import NDArray

from qsdnn.cost.model import CostModel
from qsdnn.cost.walk import Walk
from qsdnn.errors import InputError, unknown
from qsdnn.space import Space


class State(StrEnum):
    """The part of the walk so far that an observation shows."""

    FRONTIER = "frontier"
    PRODUCERS = "producers"
    LAYER = "layer"


class Reward(StrEnum):
    """The ways to spread the latency over the rewards of an episode."""

    COST = "cost"
    REGRET = "regret"
    FINAL = "final"


class Masked(StrEnum):
    """The meaning of an action that the layer may not take."""

    ERROR = "error"
    NEXT = "next"


Option = TypeVar("Option", bound=StrEnum)


def parse(kind: type[Option], what: str, name: str) -> Option:
    """The option of an enumeration that has a name.

    Raises:
        InputError: No option has that name.
    """
    try:
        return kind(name)
    except ValueError:
        raise unknown(what, name, [option.value for option in kind]) from None


def check_space(space: Space | None, cost: CostModel) -> None:
    """Raises InputError if `space` is given and is not the space that the cost model is for."""
    if space is None or space is cost.space:
        return
    same = (space.layers, space.primitives, space.edges) == (
        cost.space.layers,
        cost.space.primitives,
        cost.space.edges,
    )
    if not same or not np.array_equal(space.mask, cost.space.mask):
        raise InputError(
            f"a cost model of {len(cost.space.layers)} layers × {len(cost.space.primitives)} "
            f"primitives is not for this space of {len(space.layers)} × {len(space.primitives)}",
            hint="leave `space` out: the cost model has its own",
        )


class Lockstep:
    """Some episodes on one cost model, all at the same layer.

    Args:
        cost: The cost model that decides what each choice costs.
        n: The number of episodes.
        state: What an observation shows: see `State`.
        reward: How the latency is spread over the rewards: see `Reward`.
        masked: What an action that the layer may not take means: see `Masked`.

    Attributes:
        walk: The compiled cost model.
        layer: The index of the layer that all episodes are at; the number of layers when they have
            ended.
        choices: The actions taken so far (n, layers).
        latency_ms: The cost in ms of the actions taken so far (n,).
    """

    def __init__(
        self, cost: CostModel, n: int, *, state: State, reward: Reward, masked: Masked
    ) -> None:
        self.walk = Walk(cost=cost)
        self._n = n
        self._state = state
        self._reward = reward
        self._masked = masked
        self._domains = len(cost.space.domains)
        self.reset()

    def reset(self) -> None:
        """Goes back to before the first layer."""
        self.layer = 0
        self.choices = np.zeros((self._n, len(self.walk.stops)), dtype=np.int64)
        self.latency_ms = np.zeros(self._n)
        self._frontier = self.walk.start(self._n)

    @property
    def ended(self) -> bool:
        """Whether every layer has its primitive."""
        return self.layer == len(self.walk.stops)

    def step(self, actions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Chooses a primitive for one layer in every episode; returns the rewards (n,).

        Raises:
            ResetNeeded: The episodes have ended.
            InvalidAction: An episode chose a primitive that the layer may not take.
        """
        if self.ended:
            raise ResetNeeded("the episode has ended: every layer has its primitive; call reset()")
        layer, actions = self.layer, self._permitted(actions)
        added_ms = self.walk.step(self._frontier, layer, actions)
        self.choices[:, layer] = actions
        self.latency_ms += added_ms
        self.layer += 1
        match self._reward:
            case Reward.COST:
                return -added_ms
            case Reward.REGRET:
                return np.asarray(self.walk.least_ms[layer] - added_ms)
            case Reward.FINAL:
                return -self.latency_ms if self.ended else np.zeros(self._n)

    def _permitted(self, actions: NDArray[np.int64]) -> NDArray[np.int64]:
        space, layer = self.walk.space, self.layer
        in_range = (actions >= 0) & (actions < len(space.primitives))
        permitted = in_range & space.mask[layer, np.where(in_range, actions, 0)]
        if permitted.all():
            return actions
        if in_range.all() and self._masked is Masked.NEXT:
            return self.walk.permitted(layer, actions)
        allowed = ", ".join(
            f"{i} ({space.primitives[i]})" for i in np.flatnonzero(space.mask[layer])
        )
        raise InvalidAction(
            f"layer {layer} '{space.layers[layer]}' may not take action {actions[~permitted][0]}; "
            f"info['action_mask'] permits {allowed}"
        )

    def observe(self) -> NDArray[np.int64]:
        """The observations (n, width), laid out as `observation_space` says."""
        layer = np.full((self._n, 1), self.layer, dtype=np.int64)
        match self._state:
            case State.LAYER:
                return layer
            case State.PRODUCERS:
                return np.hstack([layer, self._producers()])
            case State.FRONTIER:
                return np.hstack([layer, self._open()])

    def _open(self) -> NDArray[np.int64]:
        shown = np.zeros((self._n, self.walk.slots), dtype=np.int64)
        if self.layer:
            slots = self.walk.stops[self.layer - 1].open
            shown[:, : len(slots)] = self._frontier.codes(self._domains)[:, slots]
        return shown

    def _producers(self) -> NDArray[np.int64]:
        shown = np.zeros((self._n, self.walk.in_degree), dtype=np.int64)
        if not self.ended:
            slots = self.walk.stops[self.layer].producers
            shown[:, : len(slots)] = self._frontier.domain[:, slots] + 1
        return shown

    def observation_space(self) -> spaces.MultiDiscrete:
        """The space of one episode's observations."""
        sizes = [len(self.walk.stops) + 1]
        match self._state:
            case State.PRODUCERS:
                sizes += [1 + self._domains] * self.walk.in_degree
            case State.FRONTIER:
                sizes += [
                    1 + self._domains * (2**self._domains if shared else 1)
                    for shared in self.walk.shared
                ]
        return spaces.MultiDiscrete(np.array(sizes, dtype=np.int64))

    def mask(self) -> NDArray[np.int8]:
        """The mask (primitives,): 1 where the layer may take the primitive; all 1 at the end."""
        return np.array(self.walk.mask[self.layer])
