"""Settings of Q-learning by name: our own, and published ones."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from qsdnn.agents.schedule import Staircase
from qsdnn.errors import unknown


class Guide(StrEnum):
    """What an episode follows where it does not explore.

    All but ``PLAN`` are tables of values, which differ in what an action is worth in a state where
    it has not been tried.

    ``ZERO``: nothing is lost, as in plain Q-learning. With ``reward="regret"`` no action is worth
    more, so whatever has not been tried looks worth trying.
    ``BACKOFF``: the most it was worth in a similar state, one that agrees in the first numbers of
    the observation.
    ``KNOWN``: it is not considered, which leaves the best of what is known to work.
    ``PLAN``: no table, but the best plan so far, from whatever state.
    """

    ZERO = "zero"
    BACKOFF = "backoff"
    KNOWN = "known"
    PLAN = "plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How Q-learning learns.

    Attributes:
        state: What it sees: see `qsdnn_envs.deployment.DeploymentEnv`.
        reward: What it is told: likewise.
        alpha: Learning rate.
        gamma: Discount.
        replay: Episodes replayed for each new one; 0 replays all of them, once a batch.
        batch: Episodes walked at the same time, with the same values.
        guides: What the episodes of a batch follow, in turn.
        linger: Exponent of the zeta distribution of how many layers an exploratory action is
            repeated for; 0 for no repeats.
        schedule: Epsilon over the episodes.
        spread: Whether, when the scheduled epsilon is below 1, the episodes of a batch have
            epsilons from 0 to it in equal distances; the first one is then what is known best.
    """

    state: str
    reward: str
    alpha: float
    gamma: float
    replay: int
    batch: int
    guides: tuple[Guide, ...]
    schedule: Staircase
    linger: float = 0.0
    spread: bool = False


PRESETS = {
    # The environment is deterministic, so alpha is 1, and replaying all episodes backward makes
    # each table exact for what has been tried. Half of the guides look for what is not known, half
    # better what is. Repeating an exploratory action is temporally-extended ε-greedy exploration
    # (Dabney, Ostrovski, Barreto, ICLR 2021): good plans are made of runs of one family.
    "default": Settings(
        state="frontier",
        reward="regret",
        alpha=1.0,
        gamma=1.0,
        replay=0,
        batch=16,
        guides=(Guide.KNOWN, Guide.ZERO, Guide.PLAN, Guide.BACKOFF),
        schedule=Staircase(((10, 1.0), (18, 0.5), (18, 0.4), (18, 0.3), (18, 0.2), (18, 0.1))),
        linger=1.7,
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
        guides=(Guide.ZERO,),
        schedule=Staircase(
            ((50, 1.0), *((5, tenths / 10) for tenths in range(9, 0, -1)), (5, 0.0))
        ),
    ),
    # Baker, Gupta, Naik, Raskar, ICLR 2017, table 2: models trained at each epsilon, of 2700.
    # Its values begin at an accuracy of 0.5, which has no counterpart in milliseconds: here they
    # begin at what is first met. An accuracy comes at the end only, milliseconds at each layer.
    "metaqnn": Settings(
        state="producers",
        reward="cost",
        alpha=0.01,
        gamma=1.0,
        replay=128,
        batch=8,
        guides=(Guide.KNOWN,),
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
