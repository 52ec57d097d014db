"""The staircase of falling epsilon."""

from __future__ import annotations

from dataclasses import dataclass


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
