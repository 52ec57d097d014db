"""What an agent is, and how agents are found by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qsdnn.cost.model import CostModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One walk through the layers, for records and learning curves.

    Attributes:
        number: From 0.
        latency_ms: Minus the return of the episode: the plan's predicted latency.
        best_ms: Least latency of any episode so far.
        epsilon: Share of exploratory choices; NaN where the agent has none.
    """

    number: int
    latency_ms: float
    best_ms: float
    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What an agent learned.

    Attributes:
        choice: (layers,) primitive index of each layer: the best plan it knows.
        latency_ms: Its predicted latency.
        candidates: (k, layers) distinct plans worth measuring, best first; `choice` is the first.
        proven: Whether the agent can show that no plan has a lower predicted latency.
        bound_ms: No plan has a lower predicted latency than that: `latency_ms` itself where
            `proven`; NaN from agents that know no bound.
        episodes: How many it took.
        steps: Environment steps in them.
        seconds: Wall time of learning.
    """

    choice: NDArray[np.int64]
    latency_ms: float
    candidates: NDArray[np.int64] = field(repr=False)
    proven: bool = False
    bound_ms: float = np.nan
    episodes: int = 0
    steps: int = 0
    seconds: float = 0.0


class Agent(Protocol):
    """Learns on the environment of a cost model; knows spaces and masks, not graphs or boards."""

    name: str

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
        """
        ...


def require_episodes(episodes: int) -> None:
    """Raises ValueError unless there is at least 1 episode to learn from."""
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, not {episodes}")
