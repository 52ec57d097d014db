"""The sequential test: whether a plan is faster than another, decided while runs come in.

Runs of both are interleaved and compared in pairs. Under the hypothesis that the challenger is not
faster, it wins a pair with a probability of one half at the most. The evidence against that is the
wealth of a gambler who bets on wins, a mixture over all probabilities p in (½, 1):

    e = ∫ (2p)^wins (2 − 2p)^losses dp · 2

The evidence is 1 or less in expectation however often one looks and whenever one stops, so that e ≥
1/α at
any time happens with a probability of α at the most (Ville's inequality; Robbins 1970; Ramdas,
Grünwald, Vovk, Shafer: Game-theoretic statistics and safe anytime-valid inference, Statistical
Science 38, 2023). Nothing is assumed of how the times are distributed; only that the pairs, turns
of neighbouring runs, are independent.

In a search many plans challenge. The k-th needs 1/α · k (k + 1): the chance that any of them is
called faster wrongly is then α over the whole search, for Σ 1 / (k (k + 1)) = 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from qsdnn_runtime.server.turns import turn_runs

ALPHA = 0.05
"""The chance that a search ever calls a plan faster that is not."""

MARGIN = 0.998
"""The share of the other's time that a challenger must stay below to win a pair: what two loads of
the same plan differ by is no gain."""

MOST_RUNS = 10
"""The most runs of a turn while a search goes on: short plans run several times a turn
(`qsdnn_runtime.server.turns`). Runs of one turn have the same neighbours, so a turn is one pair."""


class Decision(StrEnum):
    """The answer of a test so far."""

    FASTER = "faster"
    SLOWER = "slower"
    OPEN = "open"


@dataclass(slots=True)
class SequentialTest:
    """The test of a challenger against a plan, over one or more measurements.

    Attributes:
        rank: The number of the challenger in the search, from 1.
        wins: The number of pairs in which the challenger was faster by the margin.
        losses: The number of all other pairs.
        against: The number of pairs in which the challenger was slower by the margin.
    """

    rank: int
    wins: int = 0
    losses: int = 0
    against: int = 0
    _ratios: list[float] = field(default_factory=list)

    def add(self, challenger_ms: Sequence[float], other_ms: Sequence[float]) -> None:
        """Adds interleaved runs of both plans, in the order they were made."""
        ratios = turn_ratios(challenger_ms, other_ms)
        self._ratios += ratios.tolist()
        wins = int((ratios < MARGIN).sum())
        self.wins += wins
        self.losses += len(ratios) - wins
        self.against += int((ratios > 1 / MARGIN).sum())

    @property
    def ratio(self) -> float:
        """The challenger's time over the other's, median of all pairs; NaN before the first."""
        return float(np.median(self._ratios)) if self._ratios else math.nan

    @property
    def decision(self) -> Decision:
        """The decision: faster (with confidence 1 − `ALPHA` over the search), slower, or open."""
        needed = math.log(self.rank * (self.rank + 1) / ALPHA)
        if log_evidence(self.wins, self.losses) >= needed:
            return Decision.FASTER
        pairs = self.wins + self.losses
        # Giving up wrongly claims nothing: here the confidence is for this challenger alone.
        if log_evidence(self.against, pairs - self.against) >= math.log(1 / ALPHA):
            return Decision.SLOWER
        return Decision.OPEN


def log_evidence(wins: int, losses: int) -> float:
    """The logarithm of the evidence that wins have a probability above one half."""
    from scipy.special import betainc, betaln

    # ∫ over (½, 1) of p^wins (1 − p)^losses, as a share of the integral over (0, 1)
    share = max(float(betainc(losses + 1, wins + 1, 0.5)), 1e-300)
    total = float(betaln(wins + 1, losses + 1))
    return (wins + losses + 1) * math.log(2) + total + math.log(share)


def turn_ratios(a_ms: Sequence[float], b_ms: Sequence[float]) -> NDArray[np.float64]:
    """The ratio of a to b for each turn of neighbouring runs: the median of its pairs.

    Args:
        a_ms: The runs of one plan; pairs with NaN do not count, nor do turns that have no others.
        b_ms: The runs of another plan, interleaved with those; the longer sequence's end is left
            out.
    """
    count = min(len(a_ms), len(b_ms))
    if not count:
        return np.zeros(0)
    both_ms = np.array([a_ms[:count], b_ms[:count]], dtype=float)
    ratios = both_ms[0] / both_ms[1]
    if not np.isfinite(ratios).any():
        return np.zeros(0)
    fastest_ms = float(np.nanmedian(both_ms, axis=1).min())
    turn = min(MOST_RUNS, turn_runs(fastest_ms))
    turns = [ratios[start : start + turn] for start in range(0, count, turn)]
    known = [pairs[np.isfinite(pairs)] for pairs in turns]
    return np.array([np.median(pairs) for pairs in known if len(pairs)])
