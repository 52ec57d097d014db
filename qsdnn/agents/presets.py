"""Settings of Q-learning by name: our own, and published ones."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.schedule import Staircase
from qsdnn.errors import unknown


class Untried(StrEnum):
    """What an action is worth in a state where it has not been tried.

    ``ZERO``: nothing lost, as in plain Q-learning; with ``reward="regret"`` no plan does better,
    so that whatever has not been tried looks worth trying. ``BACKOFF``: the best it was worth in
    a similar state, one that agrees in the first numbers of the observation. ``NEVER``: it is
    not considered, which leaves the best of what is known to work.
    """

    ZERO = "zero"
    BACKOFF = "backoff"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How Q-learning learns.

    Attributes:
        state: What it sees: see `qsdnn_envs.deployment.DeploymentEnv`.
        reward: What it is told: likewise.
        alpha: Learning rate.
        gamma: Discount.
        replay: Episodes replayed after each new one; 0 replays all of them, once a batch.
        batch: Episodes walked at the same time, with the same values.
        untried: A table of values for each; the episodes of a batch follow them in equal shares,
            where one may be named several times.
        linger: Exponent of the zeta distribution of how many layers an exploratory action is
            repeated for; 0 for no repeats.
        schedule: Epsilon over the episodes.
        spread: Whether the episodes of a batch have epsilons from 0 to the scheduled one, in equal
            distances, when that is below 1; so that one in each batch is what is known best.
    """

    state: str
    reward: str
    alpha: float
    gamma: float
    replay: int
    batch: int
    untried: tuple[Untried, ...]
    linger: float
    schedule: Staircase
    spread: bool = False

    def share(self, epsilon: float, episodes: int) -> NDArray[np.float64]:
        """(episodes,) epsilon of each episode of a batch."""
        if self.spread and epsilon < 1:
            return np.linspace(0.0, epsilon, episodes)
        return np.full(episodes, epsilon)


_ZERO, _BACKOFF, _NEVER = Untried.ZERO, Untried.BACKOFF, Untried.NEVER

PRESETS = {
    # The environment is deterministic, so alpha is 1, and replaying all episodes backward makes
    # every table exact for what has been tried. Half of the episodes try to better what is known
    # to work, half look for what is not known; see experiments on the choice of the numbers.
    # Repeating exploratory actions: Dabney, Ostrovski, Barreto, "Temporally-extended
    # ε-greedy exploration", ICLR 2021: runs of one family are where good plans lie.
    "default": Settings(
        state="frontier",
        reward="regret",
        alpha=1.0,
        gamma=1.0,
        replay=0,
        batch=16,
        untried=(_NEVER, _ZERO, _NEVER, _BACKOFF),
        linger=1.7,
        schedule=Staircase(((10, 1.0), (18, 0.3), (18, 0.2), (18, 0.15), (18, 0.1), (18, 0.05))),
        spread=True,
    ),
    # de Prado, Pazos, Benini, arXiv 1811.07315: half of the episodes at random, then a twentieth
    # at each of 0.9 … 0.1, and the rest greedy.
    "qsdnn-2018": Settings(
        state="producers",
        reward="cost",
        alpha=0.05,
        gamma=0.9,
        replay=128,
        batch=8,
        untried=(_ZERO,),
        linger=0.0,
        schedule=Staircase(
            ((50, 1.0), *((5, tenths / 10) for tenths in range(9, 0, -1)), (5, 0.0))
        ),
    ),
    # Baker, Gupta, Naik, Raskar, ICLR 2017, table 2: models trained at each epsilon, of 2700.
    # The reward comes with the whole network.
    "metaqnn": Settings(
        state="layer",
        reward="final",
        alpha=0.01,
        gamma=1.0,
        replay=128,
        batch=8,
        untried=(_ZERO,),
        linger=0.0,
        schedule=Staircase(
            (
                (1500, 1.0),
                *((100, tenths / 10) for tenths in (9, 8, 7)),
                *((150, tenths / 10) for tenths in (6, 5, 4, 3, 2, 1)),
            )
        ),
    ),
}


def preset(name: str) -> Settings:
    """The settings of that name.

    Raises:
        InputError: There is none.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]
