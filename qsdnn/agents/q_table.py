"""Tables of action values: which states there are, and what their actions are worth."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.presets import Guide

MAX_VALUES = 2**26
"""Values in one table; at four bytes each a quarter of a gigabyte."""

PREFIXES = (1, 2, 3)
"""How many of an observation's numbers a similar state agrees in, for `Guide.BACKOFF`. The
environment puts first what the next choices depend on most: the layer, then the tensors it
reads. More prefixes cost time and gained nothing."""


class States:
    """The states met so far: a row for each, counted within each step of the episode.

    Args:
        actions: Number of actions.
        max_rows: Rows in all. When they are used up a new state shares the row of another one of
            its step, found by hash; so the memory stays bounded whatever the network.

    Attributes:
        permitted: For each step, (rows, actions) what the states' masks permit.
        similar: For each step and prefix, (rows,) the prefix's own row number.
    """

    def __init__(self, actions: int, max_rows: int | None = None) -> None:
        self.actions = actions
        self.permitted: list[NDArray[np.bool_]] = []
        self.similar: list[list[NDArray[np.int32]]] = []
        self._row_of: list[dict[bytes, int]] = []
        self._prefix_row_of: list[list[dict[bytes, int]]] = []
        self._rows_left = MAX_VALUES // actions if max_rows is None else max_rows

    def __len__(self) -> int:
        return sum(len(row_of) for row_of in self._row_of)

    def rows(
        self, step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]
    ) -> NDArray[np.intp]:
        """(n,) the rows of some observations made at a step; new states get new ones."""
        if step == len(self._row_of):
            self._begin(step)
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
            self._add(step, observations[fresh], mask[fresh])
        return rows

    def _begin(self, step: int) -> None:
        self._row_of.append({})
        self._prefix_row_of.append([{} for _ in PREFIXES])
        self.permitted.append(np.zeros((0, self.actions), dtype=np.bool_))
        self.similar.append([np.zeros(0, dtype=np.int32) for _ in PREFIXES])

    def _add(self, step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]) -> None:
        self.permitted[step] = np.concatenate([self.permitted[step], mask.astype(np.bool_)])
        for level, length in enumerate(PREFIXES):
            row_of = self._prefix_row_of[step][level]
            rows = [
                row_of.setdefault(observation[:length].tobytes(), len(row_of))
                for observation in observations
            ]
            self.similar[step][level] = np.append(
                self.similar[step][level], np.array(rows, dtype=np.int32)
            )


class QTable:
    """Values of the actions in each state, for one idea of what an untried action is worth.

    Args:
        states: The states; tables may share them.
        guide: Which idea: see `Guide`.
    """

    def __init__(self, states: States, guide: Guide) -> None:
        self.guide = guide
        self._states = states
        self._q: list[NDArray[np.float32]] = []
        self._coarse: list[list[NDArray[np.float32]] | None] = []

    def values(self, step: int, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """(n, actions) what to act on: never −inf for all that a state permits."""
        q = self._table(step)[rows]
        if self.guide is Guide.ZERO:
            return q
        blank = np.isneginf(q)
        if self.guide is Guide.KNOWN:
            blank &= blank.all(axis=1, keepdims=True)
        return self._filled(step, rows, q, blank & self._states.permitted[step][rows])

    def best(self, step: int) -> NDArray[np.float32]:
        """(rows,) value of each state of a step: that of its best action."""
        q = self._table(step)
        if self.guide is Guide.BACKOFF:
            blank = np.isneginf(q) & self._states.permitted[step]
            q = self._filled(step, np.arange(len(q)), q, blank)
        return np.asarray(q.max(axis=1))

    def update(
        self,
        step: int,
        rows: NDArray[np.intp],
        actions: NDArray[np.int64],
        target: NDArray[np.floating[Any]],
        alpha: float,
    ) -> None:
        """Moves values towards their targets: Q += α (target − Q).

        What had no value takes the target. A pair that occurs several times is moved once.
        """
        q = self._table(step)
        old = q[rows, actions]
        old = np.where(np.isneginf(old), target, old)
        q[rows, actions] = old + alpha * (target - old)
        self._coarse[step] = None

    def _table(self, step: int) -> NDArray[np.float32]:
        """(rows, actions) the values at a step, with rows for all its states."""
        while len(self._q) <= step:
            self._q.append(np.zeros((0, self._states.actions), dtype=np.float32))
            self._coarse.append(None)
        permitted, q = self._states.permitted[step], self._q[step]
        if len(q) < len(permitted):
            fresh = np.full((len(permitted) - len(q), q.shape[1]), -np.inf, dtype=np.float32)
            if self.guide is Guide.ZERO:
                fresh[permitted[len(q) :]] = 0.0
            self._q[step] = q = np.concatenate([q, fresh])
        return q

    def _filled(
        self,
        step: int,
        rows: NDArray[np.intp],
        q: NDArray[np.float32],
        blank: NDArray[np.bool_],
    ) -> NDArray[np.float32]:
        """The values, with what is blank taken from the most similar states, else zero."""
        if not blank.any():
            return q
        q = q.copy()
        similar = self._states.similar[step]
        for group, best in zip(reversed(similar), reversed(self._best_of(step)), strict=True):
            found = np.where(blank, _take(best, group[rows]), -np.inf)
            use = ~np.isneginf(found)
            q[use] = found[use]
            blank = blank & ~use
        q[blank] = 0.0
        return q

    def _best_of(self, step: int) -> list[NDArray[np.float32]]:
        """For each prefix, (groups, actions) the most that actions are worth in similar states.

        Made after an update, when first asked for; states met since then are not in it.
        """
        coarse = self._coarse[step]
        if coarse is None:
            q, similar = self._q[step], self._states.similar[step]
            coarse = self._coarse[step] = [_largest(q, group[: len(q)]) for group in similar]
        return coarse


def _take(coarse: NDArray[np.float32], groups: NDArray[np.int32]) -> NDArray[np.float32]:
    """(n, actions) the rows of some groups; −inf for groups newer than the table."""
    found = coarse[np.minimum(groups, len(coarse) - 1)]
    found[groups >= len(coarse)] = -np.inf
    return found


def _largest(q: NDArray[np.float32], groups: NDArray[np.int32]) -> NDArray[np.float32]:
    """(groups, actions) the largest of the rows of each group."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return np.asarray(np.maximum.reduceat(q[order], starts, axis=0))
