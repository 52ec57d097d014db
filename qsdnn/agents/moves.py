"""Plans that differ in a run of layers: what local search is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qsdnn.cost.model import CostModel

DRAWN = 8
"""Runs that are drawn for a change, of which one is taken. Tuned: see experiments/agents.py."""

TRIES = 8
"""Changes that are drawn until one gives a plan not met before."""


@dataclass(frozen=True, kw_only=True)
class Moves:
    """Draws changes of plans.

    A run of consecutive layers goes to one family, each layer to its cheapest primitive there; a
    layer that has none stays as it is. Good plans are made of such runs, as a crossing costs more
    than most layers gain.

    Attributes:
        cost: The cost model, of which only the layers' own costs are looked at.
        rng: What draws.
        met: Plans that have been looked at, which are avoided.
    """

    cost: CostModel
    rng: np.random.Generator
    met: set[bytes] = field(default_factory=set)

    def meet(self, plans: NDArray[np.int64]) -> None:
        """Takes note of plans that have been looked at."""
        self.met.update(plan.tobytes() for plan in plans)

    @cached_property
    def cheapest(self) -> NDArray[np.int64]:
        """(layers, families) each family's cheapest primitive, −1 where it has none."""
        space = self.cost.space
        cost_ms = np.where(space.mask, self.cost.layer_ms, np.inf)
        best = np.full((len(space.layers), len(space.families)), -1)
        for family in range(len(space.families)):
            mine = np.flatnonzero(space.family_of == family)
            some = space.mask[:, mine].any(axis=1)
            best[some, family] = mine[cost_ms[:, mine].argmin(axis=1)][some]
        return best

    def starts(self) -> NDArray[np.int64]:
        """(n, layers) where to begin: the fastest of each layer, then every family throughout."""
        greedy = np.where(self.cost.space.mask, self.cost.layer_ms, np.inf).argmin(axis=1)
        return np.array([greedy, *np.where(self.cheapest >= 0, self.cheapest, greedy[:, None]).T])

    @cached_property
    def _cheapest_ms(self) -> NDArray[np.float64]:
        """(layers, families) what each family's cheapest primitive costs; infinite for none."""
        layers = np.arange(len(self.cheapest))[:, None]
        return np.where(self.cheapest >= 0, self.cost.layer_ms[layers, self.cheapest], np.inf)

    def run(self, plan: NDArray[np.int64]) -> NDArray[np.int64]:
        """A plan with a run changed; with one layer where no run would change anything.

        Of some runs that are drawn it is the one where the layers gain the most.
        """
        for _ in range(TRIES):
            drawn = max((self._draw(plan) for _ in range(DRAWN)), key=lambda draw: draw[0])[1]
            changed = self._single(plan) if drawn is None else drawn
            if changed.tobytes() not in self.met:
                break
        return changed

    def _draw(self, plan: NDArray[np.int64]) -> tuple[float, NDArray[np.int64] | None]:
        """A run's gain, crossings aside, and the changed plan; None where nothing changes."""
        start, end = self.interval(len(plan))
        family = self._family(plan, start, end)
        wanted, now = self.cheapest[start:end, family], plan[start:end]
        differs = (wanted >= 0) & (wanted != now)
        if not differs.any():
            return -np.inf, None
        now_ms = self.cost.layer_ms[np.arange(start, end), now]
        gain_ms = (now_ms - self._cheapest_ms[start:end, family])[differs].sum()
        changed = plan.copy()
        changed[start:end] = np.where(differs, wanted, now)
        return float(gain_ms), changed

    def interval(self, layers: int) -> tuple[int, int]:
        """First layer of a run, and the one after its last; the length is log-uniform."""
        length = int(np.exp(self.rng.random() * np.log(layers + 1)))
        start = int(self.rng.integers(1 - length, layers))
        return max(start, 0), min(start + length, layers)

    def _family(self, plan: NDArray[np.int64], start: int, end: int) -> int:
        """A run's new family: as often a neighbour's as any."""
        space = self.cost.space
        beside = [plan[i] for i in (start - 1, end) if 0 <= i < len(plan)]
        if beside and self.rng.random() < 0.5:
            return int(space.family_of[self.rng.choice(beside)])
        return int(self.rng.integers(len(space.families)))

    def _single(self, plan: NDArray[np.int64]) -> NDArray[np.int64]:
        layer = self.rng.integers(len(plan))
        changed = plan.copy()
        changed[layer] = self.rng.choice(np.flatnonzero(self.cost.space.mask[layer]))
        return changed
