"""Constraints: what a plan must keep besides being fast, and how that changes the search.

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

from qsdnn.accuracy.loss import Loss, LossLimit
from qsdnn.accuracy.noise import NoiseModel, fit_noise, noise_of
from qsdnn.cost.model import CostModel
from qsdnn.errors import VerificationError
from qsdnn.space import Space
from qsdnn.tuning.limits.lagrangian import price_of, priced, within

Choice = NDArray[np.int64]

FITTED = 6
"""The number of plans of the agent that are improved by single changes: each costs a moment."""

UNKNOWN = 16.0
"""The factor below the least noise to aim at, where all evaluated plans lose too much."""


class Constraint(Protocol):
    """A constraint that plans must keep."""

    def price(self, cost: CostModel) -> CostModel:
        """The costs for an agent to learn on."""
        ...

    def near(self, cost: CostModel, plans: NDArray[np.int64]) -> NDArray[np.int64]:
        """The plans predicted to keep the constraint, made from the agent's; perhaps none."""
        ...

    def admits(self, plans: Sequence[Choice]) -> list[bool]:
        """Whether each of the plans keeps the constraint, evaluated for real."""
        ...

    def is_known(self, plan: Choice) -> bool:
        """Whether `admits` answers at once for a plan."""
        ...

    def refusal(self, plan: Choice) -> str:
        """The reason why the choosing data speaks against a plan; empty if it does not."""
        ...

    def held_out_refusals(self, plans: Sequence[Choice]) -> list[str]:
        """The reasons against writing plans, by data that nothing was chosen or calibrated with."""
        ...

    def evaluating_s(self, plans: int) -> float:
        """The wall time in seconds in which that many plans are evaluated."""
        ...

    def sqnr_db(self, plan: Choice) -> float:
        """The SQNR of a plan's outputs in dB, against fp32."""
        ...

    def claim(self, plan: Choice, *, final: bool) -> Loss | None:
        """The loss that a plan file states; None when the outputs must equal those of fp32."""
        ...


class Unlimited:
    """The constraint that any plan keeps."""

    def price(self, cost: CostModel) -> CostModel:
        """The costs as they are."""
        return cost

    def near(self, cost: CostModel, plans: NDArray[np.int64]) -> NDArray[np.int64]:
        """The plans as they are."""
        return plans

    def admits(self, plans: Sequence[Choice]) -> list[bool]:
        """True for every plan."""
        return [True] * len(plans)

    def is_known(self, plan: Choice) -> bool:
        """True for every plan."""
        return True

    def refusal(self, plan: Choice) -> str:
        """The empty text: nothing speaks against any plan."""
        return ""

    def held_out_refusals(self, plans: Sequence[Choice]) -> list[str]:
        """The empty text for every plan: none is refused."""
        return [""] * len(plans)

    def evaluating_s(self, plans: int) -> float:
        """Zero seconds: nothing is evaluated."""
        return 0.0

    def sqnr_db(self, plan: Choice) -> float:
        """Infinity: accuracy is not evaluated."""
        return np.inf

    def claim(self, plan: Choice, *, final: bool) -> Loss | None:
        """No loss: outputs are compared one by one."""
        return None


@dataclass(kw_only=True)
class AccuracyLimit:
    """The constraint that a plan may not lose more accuracy than is allowed.

    Attributes:
        space: The search space: the layers and what each may run as.
        loss_limit: The accuracy that may be lost.
        choosing: A function that evaluates plans on the data that plans are chosen with.
        deciding: A function that evaluates plans on other data.
        alone: The noise of layers alone (layers, primitives); NaN where not measured.
        evaluated: The losses of the evaluated plans, by their keys; None where one does not run.
        plan_s: The wall time in which one plan is evaluated, as seen last.
    """

    space: Space
    loss_limit: LossLimit
    choosing: Callable[[Sequence[Choice]], Sequence[Loss | None]] = field(repr=False)
    deciding: Callable[[Sequence[Choice]], Sequence[Loss | None]] = field(repr=False)
    alone: NDArray[np.float64] = field(repr=False)
    evaluated: dict[bytes, Loss | None] = field(default_factory=dict, repr=False)
    plan_s: float = field(default=0.0, repr=False)
    _noise: tuple[int, NoiseModel] | None = field(default=None, init=False, repr=False)

    @property
    def noise(self) -> NoiseModel:
        """The noise model of all that is known of each layer."""
        if self._noise is None or self._noise[0] != len(self.evaluated):
            known = self._scored
            plans = [np.frombuffer(key, dtype=np.int64) for key in known]
            seen = [noise_of(loss.sqnr_db) for loss in known.values()]
            model = fit_noise(self.space, self.alone, plans, seen)
            self._noise = (len(self.evaluated), model)
        return self._noise[1]

    @property
    def _scored(self) -> dict[bytes, Loss]:
        """The losses of the evaluated plans that ran, by their keys."""
        return {key: found for key, found in self.evaluated.items() if found is not None}

    @property
    def limit(self) -> float:
        """The noise that a plan may have by all that is known; infinite if none was too much."""
        limit = np.inf
        if self.loss_limit.min_sqnr_db is not None:
            limit = noise_of(self.loss_limit.min_sqnr_db)
        if self.loss_limit.max_drop is not None:
            limit = min(limit, self._limit_of_metric())
        return limit

    def _limit_of_metric(self) -> float:
        """The noise that best divides the evaluated plans into those allowed and the others."""
        rows = sorted(
            (noise_of(loss.sqnr_db), self.loss_limit.allows(loss)) for loss in self._scored.values()
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
        """The costs with noise at the price that keeps the limit."""
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
        """Whether the limit allows what each plan loses on the choosing data."""
        return [not self._refusal(loss) for loss in self.evaluate_all(plans)]

    def evaluate_all(self, plans: Sequence[Choice]) -> list[Loss | None]:
        """The losses of plans on the choosing data, which is kept."""
        keys = [_key(plan) for plan in plans]
        new = {
            key: plan for key, plan in zip(keys, plans, strict=True) if key not in self.evaluated
        }
        if new:
            found = self._timed(self.choosing, list(new.values()))
            self.evaluated |= dict(zip(new, found, strict=True))
        return [self.evaluated[key] for key in keys]

    def is_known(self, plan: Choice) -> bool:
        """Whether a plan was evaluated on the choosing data."""
        return _key(plan) in self.evaluated

    def refusal(self, plan: Choice) -> str:
        """The reason why the limit refuses a plan on the choosing data; empty if it does not."""
        return self._refusal(self.evaluate_all([plan])[0])

    def held_out_refusals(self, plans: Sequence[Choice]) -> list[str]:
        """The reasons why the limit refuses plans on the deciding data; empty for none."""
        return [self._refusal(a) for a in self._timed(self.deciding, plans)] if plans else []

    def _refusal(self, loss: Loss | None) -> str:
        return "it does not run on all data" if loss is None else self.loss_limit.refusal(loss)

    def evaluating_s(self, plans: int) -> float:
        """The wall time of that many plans, each as long as in the last evaluation."""
        return plans * self.plan_s

    def _timed(
        self,
        evaluate: Callable[[Sequence[Choice]], Sequence[Loss | None]],
        plans: Sequence[Choice],
    ) -> Sequence[Loss | None]:
        start_s = time.monotonic()
        found = evaluate(plans)
        self.plan_s = (time.monotonic() - start_s) / len(plans)
        return found

    def sqnr_db(self, plan: Choice) -> float:
        """The SQNR of a plan on the choosing data, in dB; minus infinity where it does not run."""
        loss = self.evaluate_all([plan])[0]
        return -np.inf if loss is None else loss.sqnr_db

    def claim(self, plan: Choice, *, final: bool) -> Loss:
        """The loss stated of a plan that runs: at the end that on the deciding data.

        Raises:
            VerificationError: The plan does not run any more.
        """
        loss = self.deciding([plan])[0] if final else self.evaluate_all([plan])[0]
        if loss is None:
            raise VerificationError("the plan does not run on the data that its accuracy is of")
        return loss


def _key(plan: Choice) -> bytes:
    return np.ascontiguousarray(plan, dtype=np.int64).tobytes()
