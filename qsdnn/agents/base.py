"""The base of every agent, and what an agent reports of its work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qsdnn.cost.model import CostModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One walk through the layers, for records and learning curves.

    Attributes:
        number: The number of the episode, from 0.
        latency_ms: The plan's predicted latency, which is minus the return of the episode.
        best_ms: The least latency of any episode so far.
        epsilon: The share of exploratory choices; NaN where the agent has none.
    """

    number: int
    latency_ms: float
    best_ms: float
    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The outcome of learning: the best plans an agent knows.

    Attributes:
        choice: The primitive index of each layer (layers,): the best plan that the agent knows.
        latency_ms: The predicted latency of that plan.
        candidates: The distinct plans worth measuring (k, layers), best first; `choice` is the
            first.
        proven: Whether the agent can show that no plan has a lower predicted latency.
        bound_ms: A lower bound of the predicted latency of all plans: `latency_ms` itself where
            `proven`; NaN from agents that know no bound.
        episodes: The number of episodes that learning took.
        steps: The number of environment steps in those episodes.
        seconds: The wall time of learning.
    """

    choice: NDArray[np.int64]
    latency_ms: float
    candidates: NDArray[np.int64] = field(repr=False)
    proven: bool = False
    bound_ms: float = np.nan
    episodes: int = 0
    steps: int = 0
    seconds: float = 0.0


class Agent(ABC):
    """A learner on the environment of a cost model; it knows spaces and masks, no graphs or boards.

    Attributes:
        name: The name it is registered under.
        presets: The names of the settings that `with_preset` takes.
    """

    __slots__ = ()

    name: ClassVar[str]
    presets: ClassVar[Sequence[str]] = ("default",)

    @classmethod
    def with_preset(cls, preset: str) -> Self:
        """A new agent with settings of that name, one of `presets`."""
        return cls()

    @abstractmethod
    def learn(
        self,
        cost: CostModel,
        *,
        episodes: int,
        seed: int,
        on_episode: Callable[[Episode], None] | None = None,
    ) -> Policy:
        """Runs episodes and returns what was learned. The same seed gives the same policy.

        Called again with a refitted cost model, an agent may start from what it learned before.

        Args:
            cost: The cost model: latency in ms of every plan; `CostModel.space` says what each
                layer may take.
            episodes: The number of plans to look at, at the most.
            seed: The seed of every random number.
            on_episode: Called after each episode.

        Raises:
            ValueError: Fewer than 1 episode.
        """
