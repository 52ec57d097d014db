"""Action values whose credit follows the tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.experience import Batch
from qsdnn.agents.q_learning.messages import Messages
from qsdnn.agents.q_learning.payoff import Ids, Payoffs
from qsdnn.agents.q_learning.presets import TensorCredit
from qsdnn.agents.q_learning.wiring import wiring_of
from qsdnn.space import Space


class TensorValues:
    """Learns what a choice costs, and what the tensors it leaves are worth.

    Q(s, a) = the reward of a, expected from the codes of the tensors that the layer reads, plus the
    worth, to the layers that read them next, of those tensors and of the ones that it makes. The
    episodes of a batch take turns in how much they hope of what was not tried.

    Args:
        space: The search space: the layers and what each may run as. It holds no cost.
        credit: The settings of learning.
    """

    def __init__(self, space: Space, credit: TensorCredit) -> None:
        wiring = wiring_of(space)
        self._credit = credit
        self._domain_of = space.domain_of
        self._payoffs = Payoffs(space, wiring)
        self._messages = Messages(space, wiring, self._payoffs, credit.optimism)
        self.begin()

    def begin(self) -> None:
        """Begins a run; the rewards of an earlier run came from another cost model."""
        self._met: list[Ids] = []
        self._payoffs.forget_episodes()

    def see(self, step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]) -> None:
        """Takes in the observations of the episodes that are under way."""
        self._met.append(self._payoffs.ids(step, observations))

    def values(self, step: int, mask: NDArray[np.int8]) -> NDArray[np.floating[Any]]:
        """The worth of each action where the episodes are (n, actions)."""
        worth = self._messages.worth(step, self._met[step])[:, self._domain_of]
        q = self._payoffs.own()[step] + worth
        return q if len(q) == len(mask) else np.resize(q, mask.shape)

    def learn(self, batch: Batch, rng: np.random.Generator) -> None:
        """Learns from the episodes of a batch, which have ended, and from some earlier ones."""
        self._payoffs.record(self._met, batch.actions, batch.rewards)
        self._met = []
        fresh = len(batch.actions)
        self._payoffs.replay(fresh, fresh * self._credit.replay, self._credit.alpha, rng)
        self._messages.propagate(self._credit.sweeps)
