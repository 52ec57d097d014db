"""Exploration: when an episode explores, and for how long."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def random_actions(
    rng: np.random.Generator, mask: NDArray[np.int8] | NDArray[np.bool_]
) -> NDArray[np.int64]:
    """An action for each row of a mask (n,), uniform over those the row permits."""
    return np.asarray((rng.random(mask.shape) * mask).argmax(axis=1))


def share_epsilon(epsilon: float, episodes: int, spread: bool) -> NDArray[np.float64]:
    """The epsilon of each episode of a batch (episodes,): see `Settings.spread`."""
    if spread:
        return np.linspace(0.0, epsilon, episodes)
    return np.full(episodes, epsilon)


class Exploration:
    """ε-greedy for a batch of episodes, where an exploratory action may be repeated.

    Where a layer may not take the repeated action, the greedy one is taken.

    Args:
        epsilon: The probability of each episode (n,) to begin exploring, at each layer.
        linger: The exponent of the zeta distribution of the repeats; 0 for none.
        rng: The generator of every random number.
    """

    def __init__(
        self, epsilon: NDArray[np.float64], linger: float, rng: np.random.Generator
    ) -> None:
        self._epsilon = epsilon
        self._linger = linger
        self._rng = rng
        self._left = np.zeros(len(epsilon), dtype=np.int64)
        self._action = np.zeros(len(epsilon), dtype=np.int64)

    def override(self, greedy: NDArray[np.int64], mask: NDArray[np.int8]) -> NDArray[np.int64]:
        """The greedy actions (n,), replaced by exploratory ones in the episodes that explore."""
        n = len(greedy)
        begins = (self._left == 0) & (self._rng.random(n) < self._epsilon)
        self._action[begins] = random_actions(self._rng, mask)[begins]
        self._left[begins] = self._rng.zipf(self._linger, n)[begins] if self._linger else 1
        explores = (self._left > 0) & (mask[np.arange(n), self._action] != 0)
        self._left = np.maximum(self._left - 1, 0)
        return np.where(explores, self._action, greedy)
