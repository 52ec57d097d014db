"""The outlook of a search: what more measuring may still gain, by the cost model's uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qsdnn.cost.belief import Belief, Plan
from qsdnn.tuning.config import WORTH

SAMPLES = 4096
"""The number of samples of what is true; a chance of 5 % is then known within 0.7 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The expectation of what the plans at hand would gain, were they measured until all is known.

    Attributes:
        gain: The expected gain in latency, relative to the incumbent.
        chance: The probability that the gain is over `WORTH`.
    """

    gain: float
    chance: float

    def __str__(self) -> str:
        return (
            f"more measuring is expected to gain {self.gain:.1%}, and over {WORTH:.0%} with a "
            f"probability of {self.chance:.0%}"
        )


def outlook(belief: Belief, plans: Sequence[Plan], incumbent: Plan, seed: int = 0) -> Outlook:
    """The outlook when these plans are what may still be found.

    What is true is drawn from the belief, no plan faster than its layers alone can be. Each time
    the fastest of the plans would be found, if it is faster than the incumbent.

    Args:
        belief: The belief about the costs.
        plans: The segments of each plan, at least one.
        incumbent: The segments of the best plan so far.
        seed: The seed of the samples.
    """
    now_ms = float(belief.latency_ms([incumbent])[0])
    rng = np.random.default_rng(seed)
    slower_ms = belief.draws_ms(plans, than=incumbent, count=SAMPLES, rng=rng)
    slower_ms = np.maximum(slower_ms, belief.least_ms(plans) - now_ms)
    best = np.maximum(-slower_ms.min(axis=1), 0.0) / now_ms
    return Outlook(gain=float(best.mean()), chance=float((best > WORTH).mean()))
