"""The history of a search: every plan that was measured, and what they all say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from qsdnn.cost.belief import Belief
from qsdnn.cost.fit import Prior, fit
from qsdnn.tuning.profile import Profile
from qsdnn.tuning.trial import Trial
from qsdnn.space import Space

FOLDS = 4
"""Parts of the random plans that are left out of a fit, one at a time, to test it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """How well plans were predicted that were not fitted.

    Attributes:
        errors: Of each plan, relative and signed.
        covered: Whether its latency was within the 95 % interval of its prediction.
    """

    errors: tuple[float, ...] = ()
    covered: tuple[bool, ...] = ()

    def __add__(self, other: HeldOut) -> HeldOut:
        return HeldOut(errors=self.errors + other.errors, covered=self.covered + other.covered)

    def last(self, count: int) -> HeldOut:
        """The plans predicted last."""
        return HeldOut(errors=self.errors[-count:], covered=self.covered[-count:])

    @property
    def mean(self) -> float | None:
        """Mean of the errors' sizes; None without a plan."""
        return float(np.mean(np.abs(self.errors))) if self.errors else None

    @property
    def largest(self) -> float | None:
        """Size of the largest error."""
        return float(np.abs(self.errors).max()) if self.errors else None

    @property
    def coverage(self) -> float | None:
        """Share of the plans within their interval."""
        return float(np.mean(self.covered)) if self.covered else None


class History:
    """All plans measured in a search.

    Args:
        space: What can be chosen.
        profile: Of the uniform plans.
        prior: What was known before.

    Attributes:
        prior: The same; None once it is dropped.
        trials: In the order they were measured; a plan may be there several times.
        random: Those of random plans.
    """

    def __init__(self, space: Space, profile: Profile, prior: Prior | None) -> None:
        self.prior = prior
        self.trials: list[Trial] = list(profile.trials.values())
        self.random: list[Trial] = []
        self._space = space
        self._profile = profile
        self._belief: tuple[tuple[int, bool], Belief] | None = None

    def add(self, trials: Sequence[Trial], *, random: bool = False) -> None:
        """Takes new trials."""
        self.trials += trials
        self.random += trials if random else []

    def belief(self) -> Belief:
        """The cost model of all that was measured."""
        known = (len(self.trials), self.prior is None)
        if self._belief is None or self._belief[0] != known:
            self._belief = (known, self._fit(self.trials, self.prior))
        return self._belief[1]

    def drop_prior(self) -> None:
        """Forgets what was known before: it misleads."""
        self.prior = None

    def belief_without_prior(self) -> Belief:
        """The same, had nothing been known before."""
        return self.belief() if self.prior is None else self._fit(self.trials, None)

    def predict(self, trial: Trial) -> float:
        """Predicted latency of a plan, in ms."""
        return float(self.belief().latency_ms([trial.observations(self._space)])[0])

    def times(self, trial: Trial) -> int:
        """How often the trial's plan was measured."""
        return sum(other.key == trial.key for other in self.trials)

    def ranked(self) -> list[tuple[float, Trial]]:
        """Plans that ended well with their latency in ms, fastest first, each once.

        Of a plan measured several times the median is taken: the least would favour the lucky.
        """
        plans: dict[bytes, list[Trial]] = {}
        for trial in self.trials:
            plans.setdefault(trial.key, []).append(trial)
        ranked = [
            (median(trial.latency_ms for trial in trials), trials[-1])
            for trials in plans.values()
            if all(trial.ok for trial in trials)
        ]
        return sorted(ranked, key=lambda pair: pair[0])

    def held_out(self) -> HeldOut:
        """Every random plan predicted by a cost model fitted to all but a few, it among them."""
        tested = HeldOut()
        for start in range(min(FOLDS, len(self.random))):
            left_out = self.random[start::FOLDS]
            plans = {trial.key for trial in left_out}
            rest = [trial for trial in self.trials if trial.key not in plans]
            tested += test(self._fit(rest, self.prior), left_out, self._space)
        return tested

    def _fit(self, trials: Sequence[Trial], prior: Prior | None) -> Belief:
        observations = [o for t in trials if t.ok for o in t.observations(self._space)]
        return fit(self._space, self._profile.layer_ms, observations, prior)


def test(belief: Belief, trials: Sequence[Trial], space: Space) -> HeldOut:
    """How well plans are predicted; those that ended badly are left out."""
    well = [trial for trial in trials if trial.ok]
    if not well:
        return HeldOut()
    plans = [trial.observations(space) for trial in well]
    latency_ms = np.array([trial.latency_ms for trial in well])
    low, high = belief.intervals_ms(plans).T
    return HeldOut(
        errors=tuple((belief.latency_ms(plans) / latency_ms - 1).tolist()),
        covered=tuple(((low <= latency_ms) & (latency_ms <= high)).tolist()),
    )
