"""The history of a search: every plan that was measured, and the cost model fitted to all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from qsdnn.cost.belief import Belief
from qsdnn.cost.fit import Prior, fit
from qsdnn.space import Space
from qsdnn.tuning.trial import Profile, Trial

FOLDS = 4
"""The number of parts of the random plans that are left out of a fit, one at a time, to test it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """The quality of predictions of plans that were not fitted.

    Attributes:
        errors: The error of each prediction, relative and signed.
        covered: Whether each plan's latency was within the 95 % interval of its prediction.
    """

    errors: tuple[float, ...] = ()
    covered: tuple[bool, ...] = ()

    def __add__(self, other: HeldOut) -> HeldOut:
        return HeldOut(errors=self.errors + other.errors, covered=self.covered + other.covered)

    def last(self, count: int) -> HeldOut:
        """The quality for the plans predicted last."""
        return HeldOut(errors=self.errors[-count:], covered=self.covered[-count:])

    @property
    def mean(self) -> float | None:
        """The mean of the errors' sizes; None without a plan."""
        return float(np.mean(np.abs(self.errors))) if self.errors else None

    @property
    def largest(self) -> float | None:
        """The size of the largest error; None without a plan."""
        return float(np.abs(self.errors).max()) if self.errors else None

    @property
    def coverage(self) -> float | None:
        """The share of the plans within their interval; None without a plan."""
        return float(np.mean(self.covered)) if self.covered else None


class History:
    """The plans measured in a search, in their order.

    Args:
        space: The search space: the layers and what each may run as.
        profile: The profile of the uniform plans.
        prior: The prior from earlier searches; None where nothing was known.

    Attributes:
        prior: The prior from earlier searches; None once it is dropped.
        trials: The trials in the order they were measured; a plan may be there several times.
        random: The trials of random plans.
    """

    def __init__(self, space: Space, profile: Profile, prior: Prior | None) -> None:
        self.prior = prior
        self.trials: list[Trial] = list(profile.trials.values())
        self.random: list[Trial] = []
        self._space = space
        self._profile = profile
        self._belief: tuple[tuple[int, bool], Belief] | None = None

    def add(self, trials: Sequence[Trial], *, random: bool = False) -> None:
        """Takes in new trials."""
        self.trials += trials
        self.random += trials if random else []

    def belief(self) -> Belief:
        """The belief fitted to all that was measured, with the prior."""
        known = (len(self.trials), self.prior is None)
        if self._belief is None or self._belief[0] != known:
            self._belief = (known, self._fit(self.trials, self.prior))
        return self._belief[1]

    def drop_prior(self) -> None:
        """Forgets the prior, which misleads."""
        self.prior = None

    def belief_without_prior(self) -> Belief:
        """The belief fitted to all that was measured, had nothing been known before."""
        return self.belief() if self.prior is None else self._fit(self.trials, None)

    def predict(self, trial: Trial) -> float:
        """The predicted latency of a plan, in ms."""
        return float(self.belief().latency_ms([trial.observations(self._space)])[0])

    def times(self, trial: Trial) -> int:
        """The number of times that the trial's plan was measured."""
        return sum(other.key == trial.key for other in self.trials)

    def ranked(self) -> list[tuple[float, Trial]]:
        """The plans that ended well with their latency in ms, fastest first, each once.

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
        """The quality of predictions of random plans, each by a fit without that plan."""
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
    """The quality of a belief's predictions of plans; those that ended badly are left out."""
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
