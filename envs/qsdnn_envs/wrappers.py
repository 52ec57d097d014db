"""Wrappers that let agents made for numbers run on the environment."""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from qsdnn_envs.deployment import DeploymentEnv


class NumericObservation(
    gymnasium.ObservationWrapper[NDArray[np.float32], np.int64, NDArray[np.int64]],
    gymnasium.utils.RecordConstructorArgs,
):
    """Turns the observation into numbers from 0 to 1, for function approximators.

    In order: the layer's place in the network; its `Space.features`, each scaled to [0, 1] over
    the layers; for each other number of the observation, its domain as one-hot and, with
    ``state="frontier"``, the domains that have entered it. At the end all but the place are 0.

    An agent that knows no masks also needs the environment made with ``masked="next"``.

    Args:
        env: A `DeploymentEnv`, wrapped or not.
    """

    def __init__(self, env: gymnasium.Env[NDArray[np.int64], np.int64]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        if not isinstance(env.unwrapped, DeploymentEnv):
            raise TypeError(f"{env.unwrapped} is not a DeploymentEnv")
        walk = env.unwrapped.episode.walk
        self._layers = len(walk.stops)
        self._domains = len(walk.space.domains)
        self._features = _scaled(walk.space.features, self._layers)
        shown = env.observation_space.sample()
        width = self.observation(shown).size
        self.observation_space = spaces.Box(0.0, 1.0, (width,), np.float32)

    def observation(self, observation: NDArray[np.int64]) -> NDArray[np.float32]:
        """The observation as numbers (width,), float32 in [0, 1]."""
        layer, codes = int(observation[0]), observation[1:]
        domains = np.arange(self._domains)
        in_use = codes[:, None] > 0
        domain = in_use & ((codes[:, None] - 1) % self._domains == domains)
        entered = in_use & ((codes[:, None] - 1) // self._domains >> domains & 1 == 1)
        place = np.array([layer / self._layers])
        parts = [place, self._features[layer], domain.ravel(), entered.ravel()]
        return np.concatenate(parts, dtype=np.float32)


def _scaled(features: NDArray[np.float32], layers: int) -> NDArray[np.float32]:
    """The features (layers + 1, n), each scaled to [0, 1] over the layers; zeros at the end."""
    scaled = np.zeros((layers + 1, features.shape[1]), dtype=np.float32)
    if features.size:
        span = np.ptp(features, axis=0)
        scaled[:-1] = (features - features.min(axis=0)) / np.where(span > 0, span, 1)
    return scaled
