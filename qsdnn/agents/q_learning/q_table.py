"""Tables of action values over the states of the environment, as Q-learning is published."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.experience import Batch
from qsdnn.agents.q_learning.presets import Initial, StepCredit

MAX_VALUES = 2**26
"""The number of values in a table; at four bytes each they take a quarter of a gigabyte."""


class QTable:
    """A table of action values for the states met so far: a row a state, counted within each step.

    Args:
        actions: The number of actions.
        initial: The values of actions that were not tried.
        max_rows: The number of rows in all; None is `MAX_VALUES` over `actions`. When the rows are
            used up a new state shares the row of another one of its step, found by hash; so the
            memory stays bounded whatever the network.
    """

    def __init__(self, actions: int, initial: Initial, max_rows: int | None = None) -> None:
        self.actions = actions
        self._initial = initial
        self._q: list[NDArray[np.float32]] = []
        self._row_of: list[dict[bytes, int]] = []
        self._rows_left = MAX_VALUES // actions if max_rows is None else max_rows

    def __len__(self) -> int:
        return sum(map(len, self._row_of))

    def rows(
        self, step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]
    ) -> NDArray[np.intp]:
        """The row of each observation made at a step (n,); new states get new rows."""
        if step == len(self._row_of):
            self._row_of.append({})
            self._q.append(np.zeros((0, self.actions), dtype=np.float32))
        row_of = self._row_of[step]
        known = len(row_of)
        rows = np.empty(len(observations), dtype=np.intp)
        fresh: list[int] = []
        for i, observation in enumerate(observations):
            key = observation.tobytes()
            row = row_of.get(key)
            if row is None:
                if self._rows_left <= 0 and row_of:
                    row = zlib.crc32(key) % len(row_of)
                else:
                    row = row_of[key] = known + len(fresh)
                    fresh.append(i)
                    self._rows_left -= 1
            rows[i] = row
        if fresh:
            untried = np.full((len(fresh), self.actions), -np.inf, dtype=np.float32)
            if self._initial is Initial.ZERO:
                untried[mask[fresh] != 0] = 0.0
            self._q[step] = np.concatenate([self._q[step], untried])
        return rows

    def values(
        self, step: int, rows: NDArray[np.intp], mask: NDArray[np.int8]
    ) -> NDArray[np.float32]:
        """The values to act on (n, actions); where nothing was tried, 0 for all permitted."""
        q = self._q[step][rows]
        blank = np.isneginf(q).all(axis=1, keepdims=True) & (mask != 0)
        return np.where(blank, np.float32(0.0), q)

    def best(self, step: int, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """The value of each state (n,), which is that of its best action."""
        return np.asarray(self._q[step][rows].max(axis=1))

    def update(
        self,
        step: int,
        rows: NDArray[np.intp],
        actions: NDArray[np.int64],
        target: NDArray[np.floating[Any]],
        alpha: float,
    ) -> None:
        """Moves values towards their targets: Q += α (target − Q).

        A value that was not set yet becomes the target. A pair that occurs several times is moved
        once.
        """
        q = self._q[step]
        old = q[rows, actions]
        old = np.where(np.isneginf(old), target, old)
        q[rows, actions] = old + alpha * (target - old)


class StepValues:
    """Learns a `QTable` from episodes and their replay.

    Args:
        actions: The number of actions.
        credit: The settings of learning.
    """

    def __init__(self, actions: int, credit: StepCredit) -> None:
        self._credit = credit
        self._table = QTable(actions, credit.initial)
        self.begin()

    def begin(self) -> None:
        """Begins a run; the rewards of an earlier run came from another cost model."""
        self._met: list[NDArray[np.intp]] = []
        self._seen: list[tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.float64]]] = []

    def see(self, step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]) -> None:
        """Takes in the observations of the episodes that are under way."""
        self._met.append(self._table.rows(step, observations, mask))

    def values(self, step: int, mask: NDArray[np.int8]) -> NDArray[np.floating[Any]]:
        """The worth of each action where the episodes are (n, actions)."""
        return self._table.values(step, self._met[step], mask)

    def learn(self, batch: Batch, rng: np.random.Generator) -> None:
        """Learns from the episodes of a batch, which have ended: each, and some others with it."""
        known = len(self._seen)
        rows = np.stack(self._met, axis=1)
        self._met = []
        self._seen += zip(rows, batch.actions, batch.rewards, strict=True)
        total = len(self._seen)
        for episode in range(known, total):
            some = rng.choice(total, min(self._credit.replay, total), replace=False).tolist()
            self._replay([*some, episode])

    def _replay(self, episodes: list[int]) -> None:
        """Learns from episodes again, from their ends to their beginnings."""
        parts = zip(*(self._seen[episode] for episode in episodes), strict=True)
        rows, actions, rewards = (np.stack(part) for part in parts)
        later = np.zeros(len(episodes), dtype=np.float32)
        for step in range(rows.shape[1] - 1, -1, -1):
            target = rewards[:, step] + self._credit.gamma * later
            self._table.update(step, rows[:, step], actions[:, step], target, self._credit.alpha)
            later = self._table.best(step, rows[:, step])
