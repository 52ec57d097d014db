"""Constraints: what a plan must keep besides being fast, and what that does to the search.

A search without a limit has `Unlimited`, and goes on as if there were none. With one, three things
change. The agents learn on costs in which noise has a price. What they propose is evaluated before
it is measured, and what loses too much is not measured. And what wins is evaluated once more, on
data that nothing was chosen or calibrated with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qsdnn.accuracy.budget import Accuracy, Budget
from qsdnn.accuracy.noise import NoiseModel, fit_noise, noise_of
from qsdnn.cost.model import CostModel
from qsdnn.errors import VerificationError
from qsdnn.tuning.limits.lagrangian import price_of, priced, within
from qsdnn.space import Space

Choice = NDArray[np.int64]

FITTED = 6
"""Plans of the agent that are improved by single changes: each costs a moment."""

UNKNOWN = 16.0
"""Where all evaluated plans lose too much, so many times less noise than the least is aimed at."""


class Constraint(Protocol):
    """What plans must keep."""

    def price(self, cost: CostModel) -> CostModel:
        """Costs for an agent to learn on."""
        ...

    def near(self, cost: CostModel, plans: NDArray[np.int64]) -> NDArray[np.int64]:
        """Plans that are predicted to keep it, made from the agent's; perhaps none."""
        ...

    def admits(self, plans: Sequence[Choice]) -> list[bool]:
        """Whether plans keep it, evaluated for real."""
        ...

    def is_known(self, plan: Choice) -> bool:
        """Whether `admits` answers at once."""
        ...

    def refusal(self, plan: Choice) -> str:
        """Why the data that plans are chosen with speaks against a plan; empty if it does not."""
        ...

    def held_out_refusals(self, plans: Sequence[Choice]) -> list[str]:
        """Why plans may not be written, by data that nothing was chosen or calibrated with."""
        ...

    def evaluating_s(self, plans: int) -> float:
        """Wall time in which so many plans are evaluated, in seconds."""
        ...

    def sqnr_db(self, plan: Choice) -> float:
        """How near a plan is to fp32."""
        ...

    def claim(self, plan: Choice, *, final: bool) -> Accuracy | None:
        """What a plan file says of accuracy; None when its outputs equal those of fp32."""
        ...


class Unlimited:
    """Any plan will do."""

    def price(self, cost: CostModel) -> CostModel:
        """The costs as they are."""
        return cost

    def near(self, cost: CostModel, plans: NDArray[np.int64]) -> NDArray[np.int64]:
        """All of them."""
        return plans

    def admits(self, plans: Sequence[Choice]) -> list[bool]:
        """All of them."""
        return [True] * len(plans)

    def is_known(self, plan: Choice) -> bool:
        """Always."""
        return True

    def refusal(self, plan: Choice) -> str:
        """Never."""
        return ""

    def held_out_refusals(self, plans: Sequence[Choice]) -> list[str]:
        """None of them."""
        return [""] * len(plans)

    def evaluating_s(self, plans: int) -> float:
        """None."""
        return 0.0

    def sqnr_db(self, plan: Choice) -> float:
        """Not asked."""
        return np.inf

    def claim(self, plan: Choice, *, final: bool) -> Accuracy | None:
        """Nothing: outputs are compared one by one."""
        return None


@dataclass(kw_only=True)
class AccuracyLimit:
    """The plan may not lose more accuracy than a budget allows.

    Attributes:
        space: What can be chosen.
        budget: What may be lost.
        choosing: Evaluates plans on the data that plans are chosen with.
        deciding: Evaluates plans on other data.
        alone: (layers, primitives) noise of layers alone, NaN where not measured.
        evaluated: What plans were evaluated to lose, by `key_of`; None of one that does not run.
        plan_s: Wall time in which a plan is evaluated, as seen last.
    """

    space: Space
    budget: Budget
    choosing: Callable[[Sequence[Choice]], Sequence[Accuracy | None]] = field(repr=False)
    deciding: Callable[[Sequence[Choice]], Sequence[Accuracy | None]] = field(repr=False)
    alone: NDArray[np.float64] = field(repr=False)
    evaluated: dict[bytes, Accuracy | None] = field(default_factory=dict, repr=False)
    plan_s: float = field(default=0.0, repr=False)
    _noise: tuple[int, NoiseModel] | None = field(default=None, init=False, repr=False)

    @property
    def noise(self) -> NoiseModel:
        """What is known of the noise of each layer."""
        if self._noise is None or self._noise[0] != len(self.evaluated):
            known = self._scored
            plans = [np.frombuffer(key, dtype=np.int64) for key in known]
            seen = [noise_of(accuracy.sqnr_db) for accuracy in known.values()]
            model = fit_noise(self.space, self.alone, plans, seen)
            self._noise = (len(self.evaluated), model)
        return self._noise[1]

    @property
    def _scored(self) -> dict[bytes, Accuracy]:
        """What the plans lose that ran."""
        return {key: found for key, found in self.evaluated.items() if found is not None}

    @property
    def limit(self) -> float:
        """Noise that a plan may have by all that is known; infinite when nothing was too much."""
        limit = np.inf
        if self.budget.min_sqnr_db is not None:
            limit = noise_of(self.budget.min_sqnr_db)
        if self.budget.max_drop is not None:
            limit = min(limit, self._limit_of_metric())
        return limit

    def _limit_of_metric(self) -> float:
        """The noise that best divides the evaluated plans into those allowed and the others."""
        rows = sorted(
            (noise_of(accuracy.sqnr_db), self.budget.allows(accuracy))
            for accuracy in self._scored.values()
        )
        noise, good = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], bool)
        if good.all():
            return np.inf
        if not good.any():
            return float(noise.min() / UNKNOWN)
        below = np.concatenate([[0], np.cumsum(~good)])  # bad ones wrongly allowed
        above = np.concatenate([np.cumsum(good[::-1])[::-1], [0]])  # good ones wrongly forbidden
        wrong = below + above
        cut = int(np.flatnonzero(wrong == wrong.min())[-1])
        if cut == len(noise):
            return np.inf
        low = noise[cut - 1] if cut else noise[0] / UNKNOWN
        return float(np.sqrt(low * noise[cut]))

    def price(self, cost: CostModel) -> CostModel:
        """Costs with noise at the price that keeps the limit."""
        if not np.isfinite(self.limit):
            return cost
        return priced(cost, self.noise, price_of(cost, self.noise, self.limit))

    def near(self, cost: CostModel, plans: NDArray[np.int64]) -> NDArray[np.int64]:
        """The agent's plans, the first few brought as close to the limit as pays."""
        if not np.isfinite(self.limit):
            return plans
        fitted = [within(cost, self.noise, self.limit, plan) for plan in plans[:FITTED]]
        every = np.concatenate([np.array(fitted), plans[FITTED:]])
        kept = every[self.noise.predict(every) <= self.limit]
        _, first = np.unique(kept, axis=0, return_index=True)
        return kept[np.sort(first)]

    def admits(self, plans: Sequence[Choice]) -> list[bool]:
        """Whether the budget allows what they lose on the choosing data."""
        return [not self._refusal(accuracy) for accuracy in self.evaluate_all(plans)]

    def evaluate_all(self, plans: Sequence[Choice]) -> list[Accuracy | None]:
        """What plans lose on the choosing data; kept."""
        keys = [key_of(plan) for plan in plans]
        new = {
            key: plan for key, plan in zip(keys, plans, strict=True) if key not in self.evaluated
        }
        if new:
            found = self._timed(self.choosing, list(new.values()))
            self.evaluated |= dict(zip(new, found, strict=True))
        return [self.evaluated[key] for key in keys]

    def is_known(self, plan: Choice) -> bool:
        """Whether it was evaluated on the choosing data."""
        return key_of(plan) in self.evaluated

    def refusal(self, plan: Choice) -> str:
        """What the budget has against what it loses on the choosing data."""
        return self._refusal(self.evaluate_all([plan])[0])

    def held_out_refusals(self, plans: Sequence[Choice]) -> list[str]:
        """What the budget has against what they lose on the deciding data."""
        return [self._refusal(a) for a in self._timed(self.deciding, plans)] if plans else []

    def _refusal(self, accuracy: Accuracy | None) -> str:
        return "it does not run on all data" if accuracy is None else self.budget.refusal(accuracy)

    def evaluating_s(self, plans: int) -> float:
        """As long a plan as in the last evaluation."""
        return plans * self.plan_s

    def _timed(
        self,
        evaluate: Callable[[Sequence[Choice]], Sequence[Accuracy | None]],
        plans: Sequence[Choice],
    ) -> Sequence[Accuracy | None]:
        start_s = time.monotonic()
        found = evaluate(plans)
        self.plan_s = (time.monotonic() - start_s) / len(plans)
        return found

    def sqnr_db(self, plan: Choice) -> float:
        """On the choosing data; minus infinity where it does not run."""
        accuracy = self.evaluate_all([plan])[0]
        return -np.inf if accuracy is None else accuracy.sqnr_db

    def claim(self, plan: Choice, *, final: bool) -> Accuracy:
        """What is said of a plan that runs: at the end by the deciding data.

        Raises:
            VerificationError: It does not run any more.
        """
        accuracy = self.deciding([plan])[0] if final else self.evaluate_all([plan])[0]
        if accuracy is None:
            raise VerificationError("the plan does not run on the data that its accuracy is of")
        return accuracy


def key_of(plan: Choice) -> bytes:
    """What a plan is remembered by: equal for equal plans."""
    return np.ascontiguousarray(plan, dtype=np.int64).tobytes()
