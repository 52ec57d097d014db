"""Exploring: random mixed plans are measured until the cost model is sure of the others.

Beside the first of them go the plans that are most likely good before anything was learned: the
fastest primitive of each layer, within one domain, where no boundary costs anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.exact.solver import Exact
from qsdnn.cost.model import CostModel, undivided
from qsdnn.space import Space
from qsdnn.tuning.bench import GROUP, Bench
from qsdnn.tuning.budget import Budget
from qsdnn.tuning.config import WORTH
from qsdnn.tuning.history import HeldOut, History, test
from qsdnn.tuning.stopwatch import Part
from qsdnn.tuning.trial import Profile

HOPELESS = 4.0
"""The factor of the layer's fastest time above which a primitive is left out of random plans: it
would drown the boundaries that the plans are there to show."""


def mixed_plan(
    space: Space, layer_ms: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """A random plan of 2 to 13 runs of one domain each, fewer in small networks.

    Args:
        space: The search space: the layers and what each may run as.
        layer_ms: The first estimates of times (layers, primitives); not finite where unknown.
        rng: The generator of every random number.

    Returns:
        The primitive indices of the plan (layers,).
    """
    count = len(space.layers)
    known = np.where(space.mask & np.isfinite(layer_ms), layer_ms, np.inf)
    usable = space.mask & (known <= HOPELESS * known.min(axis=1, keepdims=True))
    runs = int(rng.integers(2, min(13, 2 + count // 6) + 1))
    cuts = set(rng.choice(np.arange(1, count), size=min(runs, count) - 1, replace=False).tolist())
    plan = np.zeros(count, dtype=np.int64)
    domain = -1
    for index in range(count):
        options = np.flatnonzero(usable[index])
        domains = np.unique(space.domain_of[options])
        if index == 0 or index in cuts:
            others = domains[domains != domain]
            domain = int(rng.choice(others if len(others) else domains))
        inside = options[space.domain_of[options] == domain]
        plan[index] = rng.choice(inside if len(inside) else options)
    return plan


MOST_LIKELY = 2
"""The number of likely good plans, at the most."""

MOST = 24
"""The number of random plans, at the most."""

SURE, RIGHT, WINDOW = 0.03, 0.06, 2 * GROUP
"""The limits at which exploring ends. The latency of the plans left is known well enough when the
standard deviation of its prediction, relative, the mean of the plans, is at most the first; and the
last plans were predicted no worse than the second, for on two threads the model may be sure and
wrong. Or exploring ends when as many plans in turn as the third says were predicted as well as the
first says. More is worth little: from 4 plans to 24 the mean error of others fell by 0 to 0.3 % of
the latency in five of seven cases (experiments/held_out.py), and by 3 in the two that these rules
do not end after 4."""


def explore(bench: Bench, profile: Profile, history: History, budget: Budget) -> None:
    """Measures random mixed plans a few at a time, each predicted before.

    There are none where even the optimum of the cost model, as it is before any boundary was
    measured, gains less than `WORTH` over the best plan of one domain.

    The first few tell how well the cost model predicts. A prior that predicts them worse than none
    at all is dropped. Where there is time for one more group of plans only, that time is left to
    the plans that are learned, unless there are plans that are likely good.

    Args:
        bench: The bench that builds and measures plans.
        profile: The profile of the uniform plans.
        history: The history that takes the trials.
        budget: The budget that may end exploring early, without what must follow.
    """
    with bench.stopwatch.part(Part.LEARNING):
        likely = _likely_plans(profile, history)
        plans = _random_plans(bench, profile)
        if plans and not _mixing_helps(history):
            plans = []
    seen, without = HeldOut(), HeldOut()
    bench.listener.phase("Exploring", len(plans))
    while (plans or likely) and not budget.ended((1 if likely else 2) * bench.pace.group_s):
        if _is_good(seen) or (_is_right(seen) and _is_sure(bench, history, plans)):
            return
        count = int(min(GROUP, budget.plans))
        belief, plain = history.belief(), history.belief_without_prior()
        group = [*likely, *plans][:count]
        trials = bench.in_groups(group, profile.best[:1])
        history.add(trials[: len(likely)])
        trials, plans = trials[len(likely) :], plans[max(count - len(likely), 0) :]
        likely = []
        seen += test(belief, trials, bench.space)
        without += test(plain, trials, bench.space)
        history.add(trials, random=True)
        if (seen.mean or 0.0) > (without.mean or 0.0):
            history.drop_prior()
            seen = without


def _mixing_helps(history: History) -> bool:
    """Whether a mixed plan is expected to be faster than the best plan of one domain.

    What earlier searches learned may mislead: they are not believed alone.
    """

    def helps(cost: CostModel) -> bool:
        whole = undivided(cost)
        if not len(whole):
            return True
        return Exact(plans=1).learn(cost).bound_ms < (1 - WORTH) * cost.predict(whole[0])

    alone = history.belief_without_prior()
    return helps(alone.cost) or (history.prior is not None and helps(history.belief().cost))


def _is_good(seen: HeldOut) -> bool:
    last = seen.last(WINDOW)
    return len(last.errors) == WINDOW and (last.mean or 0.0) <= SURE


def _is_right(seen: HeldOut) -> bool:
    error = seen.last(WINDOW).mean
    return error is not None and error <= RIGHT


def _is_sure(bench: Bench, history: History, plans: Sequence[NDArray[np.int64]]) -> bool:
    belief, cut = history.belief(), [bench.cut(plan) for plan in plans]
    return float(np.mean(belief.spread_ms(cut) / belief.latency_ms(cut))) <= SURE


def _likely_plans(profile: Profile, history: History) -> list[NDArray[np.int64]]:
    """The plans of one domain that may be as fast as the fastest uniform plan, and are not it."""
    cost, known = history.belief().cost, {trial.key for trial in history.trials}
    most_ms = min(cost.predict(trial.choice) for trial in profile.best)
    likely = [plan for plan in undivided(cost) if cost.predict(plan) <= most_ms]
    return [plan for plan in likely if plan.tobytes() not in known][:MOST_LIKELY]


def _random_plans(bench: Bench, profile: Profile) -> list[NDArray[np.int64]]:
    """The different random plans, up to `MOST`; none where there is nothing to mix."""
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
