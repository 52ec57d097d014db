"""Exploring: random mixed plans are measured until the cost model predicts them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsdnn.search.budget import Budget
from qsdnn.search.logbook import HeldOut, Logbook, test
from qsdnn.search.profile import Profile
from qsdnn.search.sample import mixed_plan
from qsdnn.search.trial import GROUP, Bench

MOST = 24
"""Random plans at the most."""

LEAST, LEAST_WITH_PRIOR = 2 * GROUP, GROUP
"""Random plans at the least, the second where other searches have left a prior."""

WINDOW, GOOD_ERROR = 2 * GROUP, 0.03
"""Exploring ends when of so many plans, each predicted before it was measured, the mean error is
that or less: about what a model fitted to all `MOST` is left with."""


def explore(bench: Bench, profile: Profile, logbook: Logbook, budget: Budget) -> None:
    """Measures random mixed plans a few at a time, each predicted before.

    A prior that predicts them worse than none at all is dropped.

    Args:
        bench: Builds and measures plans.
        profile: Of the uniform plans.
        logbook: Takes the trials.
        budget: Ends it early.
    """
    plans = _random_plans(bench, profile)
    least = LEAST if logbook.prior is None else LEAST_WITH_PRIOR
    seen, without = HeldOut(), HeldOut()
    bench.listener.phase("Exploring", len(plans))
    while plans and not budget.over and not (len(seen.errors) >= least and _is_good(seen)):
        count = int(min(GROUP, budget.plans))
        belief, plain = logbook.belief(), logbook.belief_without_prior()
        trials = bench.in_groups(plans[:count], profile.best[:1])
        plans = plans[count:]
        seen += test(belief, trials, bench.space)
        without += test(plain, trials, bench.space)
        logbook.add(trials, random=True)
        if (seen.mean or 0.0) > (without.mean or 0.0):
            logbook.prior, seen, least = None, without, LEAST


def _is_good(seen: HeldOut) -> bool:
    error = seen.last(WINDOW).mean
    return error is not None and error <= GOOD_ERROR


def _random_plans(bench: Bench, profile: Profile) -> list[NDArray[np.int64]]:
    """Up to `MOST` different plans; none where there is nothing to mix."""
    space = bench.space
    if len(space.domains) < 2 or len(space.layers) < 2:
        return []
    rng = np.random.default_rng([bench.config.seed, len(space.layers)])
    plans: dict[bytes, NDArray[np.int64]] = {}
    for _ in range(10 * MOST):  # small networks have few plans
        plan = mixed_plan(space, profile.layer_ms, rng)
        plans.setdefault(plan.tobytes(), plan)
        if len(plans) == MOST:
            break
    return list(plans.values())
