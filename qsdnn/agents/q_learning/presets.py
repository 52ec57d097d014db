"""Settings of Q-learning by name: our own, and published ones."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Staircase:
    """Epsilon as a staircase over the episodes of a run.

    Attributes:
        steps: The pairs (length, epsilon) of the steps, in order. Lengths count in any unit: a run
            of whatever number of episodes is divided in their proportion.
    """

    steps: tuple[tuple[float, float], ...]

    def epsilon(self, episode: int, episodes: int) -> float:
        """The epsilon of an episode.

        Args:
            episode: The number of the episode, from 0.
            episodes: The number of episodes of the run.
        """
        total = sum(length for length, _ in self.steps)
        end = 0.0
        for length, epsilon in self.steps:
            end += length
            # Half an episode of tolerance: shares such as 0.05 do not add up exactly.
            if episode + 0.5 < end / total * episodes:
                return epsilon
        return self.steps[-1][1]


class Initial(StrEnum):
    """The value of an action that has not been tried in a state.

    ``ZERO``: nothing is lost. No reward is positive, so this is optimistic, and whatever has not
    been tried looks worth trying.
    ``FIRST``: the first target of the action; until then the action is not considered where another
    one has been tried.
    """

    ZERO = "zero"
    FIRST = "first"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCredit:
    """The published way: the value of a choice is its reward and the value of the next state.

    Attributes:
        state: The kind of observation: see `qsdnn_envs.deployment.DeploymentEnv`.
        alpha: The learning rate.
        gamma: The discount of later rewards.
        replay: The number of episodes replayed for each new one, from their ends to their
            beginnings.
        initial: The values of actions that were not tried.
    """

    state: str
    alpha: float
    gamma: float
    replay: int
    initial: Initial


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorCredit:
    """Our own: the value of a choice is its reward and the worth of the tensors it leaves.

    The environment's states are what all open tensors are at once: too many to meet twice in a
    network of branches. Here each tensor has a value of its own, learned from the layers that read
    it: see `qsdnn.agents.q_learning.payoff` and `qsdnn.agents.q_learning.tensor_values`. All values
    begin at 0, which is optimistic with ``reward="regret"``.

    Attributes:
        alpha: The learning rate.
        replay: The number of episodes replayed for each new one.
        sweeps: The number of times, after a batch, that worth is passed along all tensors.
        optimism: The degrees of optimism, which the episodes of a batch take in turn: see
            `qsdnn.agents.q_learning.tensor_values.Messages`.
    """

    alpha: float
    replay: int
    sweeps: int
    optimism: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of Q-learning.

    Attributes:
        credit: The way that rewards are credited to choices, by steps or by tensors.
        reward: The kind of reward: see `qsdnn_envs.deployment.DeploymentEnv`.
        batch: The number of episodes walked at the same time, with the same values; fewer in short
            runs.
        schedule: The course of epsilon over the episodes.
        linger: The exponent of the zeta distribution of how many layers an exploratory action is
            repeated for; 0 for no repeats.
        spread: Whether the episodes of a batch have epsilons from 0 to the scheduled one in equal
            distances; the first episode then follows what is known best.
    """

    credit: StepCredit | TensorCredit
    reward: str
    batch: int
    schedule: Staircase
    linger: float = 0.0
    spread: bool = False


PRESETS = {
    # The environment is deterministic, so alpha is 1. Repeating an exploratory action is
    # temporally-extended ε-greedy exploration (Dabney, Ostrovski, Barreto, ICLR 2021): good plans
    # are made of runs of one domain. experiments/q_ablation.py shows what each setting is good for.
    "default": Settings(
        credit=TensorCredit(alpha=1.0, replay=3, sweeps=2, optimism=(0.0, 1.0)),
        reward="regret",
        batch=16,
        schedule=Staircase(((23, 0.5), (19, 0.4), (19, 0.3), (19, 0.2), (20, 0.1))),
        linger=1.7,
        spread=True,
    ),
    # de Prado, Pazos, Benini, arXiv 1811.07315: half of the episodes at random, then a twentieth
    # at each of 0.9 … 0.1, and the rest greedy.
    "qsdnn-2018": Settings(
        credit=StepCredit(
            state="producers", alpha=0.05, gamma=0.9, replay=128, initial=Initial.ZERO
        ),
        reward="cost",
        batch=8,
        schedule=Staircase(
            ((50, 1.0), *((5, tenths / 10) for tenths in range(9, 0, -1)), (5, 0.0))
        ),
    ),
    # Baker, Gupta, Naik, Raskar, ICLR 2017, table 2: models trained at each epsilon, of 2700.
    # Its values begin at an accuracy of 0.5, which has no counterpart in milliseconds: here they
    # begin at what is first met. An accuracy comes at the end only, milliseconds at each layer.
    "metaqnn": Settings(
        credit=StepCredit(
            state="producers", alpha=0.01, gamma=1.0, replay=128, initial=Initial.FIRST
        ),
        reward="cost",
        batch=8,
        schedule=Staircase(
            (
                (1500, 1.0),
                *((100, tenths / 10) for tenths in (9, 8, 7)),
                *((150, tenths / 10) for tenths in (6, 5, 4, 3, 2, 1)),
            )
        ),
    ),
}
