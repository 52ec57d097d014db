"""The settings of a search, and the goal they set: what the best plan has least of, and its limits.

Whatever the objective, the search learns latency, which adds up over layers. Memory and energy do
not: they are measured of whole plans, and decide among those that were measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from qsdnn.accuracy.loss import AccuracyConfig
from qsdnn.board import Record
from qsdnn.primitive import Precision

WORTH = 0.01
"""The gain in latency, relative, that is worth more measuring."""

TIE = 1.01
"""The factor of the least within which costs are as good: runs of the same plan differ by it."""


class Objective(StrEnum):
    """The quantity that a plan is to have least of."""

    LATENCY = "latency"
    MEMORY = "memory"
    ENERGY = "energy"

    @property
    def unit(self) -> str:
        """The unit of `Cost.of`."""
        return {"latency": "ms", "memory": "MB", "energy": "mJ"}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The measured costs of a plan; None where not measured.

    Attributes:
        latency_ms: The latency of one inference.
        memory_mb: The most memory that a process took which ran the plan.
        energy_mj: The energy of one inference.
    """

    latency_ms: float
    memory_mb: float | None = None
    energy_mj: float | None = None

    def of(self, objective: Objective) -> float | None:
        """The cost of an objective, in its unit."""
        return {
            Objective.LATENCY: self.latency_ms,
            Objective.MEMORY: self.memory_mb,
            Objective.ENERGY: self.energy_mj,
        }[objective]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The goal of a search.

    Attributes:
        objective: The quantity to have least of.
        limits: The largest cost allowed, by objective, in its unit; objectives without a limit are
            absent.
    """

    objective: Objective
    limits: Mapping[Objective, float]

    @property
    def is_latency_alone(self) -> bool:
        """Whether nothing but the least latency is asked for."""
        return self.objective is Objective.LATENCY and not self.limits

    def asks(self, objective: Objective) -> bool:
        """Whether it matters how much of a quantity a plan takes."""
        return objective is self.objective or objective in self.limits

    def refusal(self, cost: Cost) -> str:
        """The limits that a plan breaks, with numbers; empty when it keeps them."""
        said = []
        for objective, most in self.limits.items():
            taken = cost.of(objective)
            if taken is None:
                said.append(f"its {objective} is not known")
            elif taken > most:
                unit = objective.unit
                said.append(f"it takes {taken:.4g} {unit}, --max-{objective} is {most:g} {unit}")
        return "; ".join(said)

    def excess(self, cost: Cost) -> float:
        """The factor by which a plan takes its worst limit; infinite where that is not known."""
        taken = [(cost.of(objective), most) for objective, most in self.limits.items()]
        return max((float("inf") if t is None else t / most for t, most in taken), default=0.0)

    def order(self, costs: Iterable[Cost]) -> list[int]:
        """The indices of costs whose objective is known, best first; of near ties the faster."""
        known = [(i, cost) for i, cost in enumerate(costs) if cost.of(self.objective) is not None]
        left = sorted(known, key=lambda pair: pair[1].of(self.objective) or 0.0)
        found = []
        while left:
            least = left[0][1].of(self.objective) or 0.0
            tied = [pair for pair in left if (pair[1].of(self.objective) or 0.0) <= TIE * least]
            best = min(tied, key=lambda pair: pair[1].latency_ms)
            found.append(best[0])
            left.remove(best)
        return found


def power_mw(record: Record) -> float | None:
    """The mean power of the board while it measured; None where no sensor told.

    It is the power of the rails which carry all of it, where the board's spec names some; else the
    sum of all.
    """
    rails: Mapping[str, float] = record.context.get("power_mw", {})
    supply = [rails[name] for name in record.context.get("supply", ()) if name in rails]
    return sum(supply or rails.values()) if rails else None


def energy_mj(record: Record) -> float | None:
    """The energy of one run of a plan measured alone: mean power times latency; None if unknown."""
    power = power_mw(record)
    return None if power is None else power * record.latency_ms / 1000


def senses_power(record: Record) -> bool:
    """Whether the board has a sensor of power or energy that can be read."""
    reading: Mapping[str, Any] = record.context.get("before", {})
    return bool({"power_mw", "energy_j"} & set(reading.get("sensors", {})))


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """A search, as the command line describes it.

    Attributes:
        model: The network's file.
        shapes: The dimensions of dynamic inputs, by input name.
        engines: The names of the engines that may be used; None takes all that the board has.
        precisions: The precisions that are allowed.
        threads: The number of threads that an engine may use.
        agent: The name of the agent.
        preset: The name of the agent's settings.
        episodes: The number of episodes in each round of learning.
        budget_s: The wall time of the whole search, from loading to the verified plan, without the
            time in which the board is waited for.
        measurements: The number of plans to measure at the most, uniform and mixed, after one look
            at each engine; None is any number.
        patience: The number of rounds without a better plan after which the search ends, where
            `until` is None.
        until: The certainty at which the search ends: that no plan in view gains over a hundredth,
            by the cost model. None ends it at 95 %, or by `patience`.
        seed: The seed of every random number.
        inputs: The ``.npz`` file of inputs; None takes random ones.
        tolerance: The largest relative error of an output.
        log_dir: The folder of TensorBoard event files; None writes none.
        remeasure: Whether to ignore what the store knows.
        accuracy: The accuracy that may be lost, and the data to measure it on; None: outputs must
            equal those of fp32.
        objective: The quantity that the plan is to have least of.
        max_memory_mb: The most memory that a plan may take; None is any.
        max_latency_ms: The largest latency that a plan may have; None is any.
        max_energy_mj: The most energy that one inference may take; None is any.
        pareto: Whether to measure the front of latency, accuracy and memory as well.
        command: The command line, for the plan.
    """

    model: Path
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    engines: tuple[str, ...] | None = None
    precisions: tuple[Precision, ...] = (Precision.FP32,)
    threads: int = 1
    agent: str = "q-learning"
    preset: str = "default"
    episodes: int = 1000
    budget_s: float = 300.0
    measurements: int | None = None
    patience: int = 2
    until: float | None = None
    seed: int = 0
    inputs: Path | None = None
    tolerance: float = 1e-4
    log_dir: Path | None = None
    remeasure: bool = False
    accuracy: AccuracyConfig | None = None
    objective: Objective = Objective.LATENCY
    max_memory_mb: float | None = None
    max_latency_ms: float | None = None
    max_energy_mj: float | None = None
    pareto: bool = False
    command: str = ""

    @property
    def goal(self) -> Goal:
        """The objective, and the limits that are kept at the end.

        Memory is not among the limits: a plan that takes too much counts as failed as soon as it is
        measured.
        """
        limits = {
            Objective.LATENCY: self.max_latency_ms,
            Objective.ENERGY: self.max_energy_mj,
        }
        set_ = {objective: most for objective, most in limits.items() if most is not None}
        return Goal(objective=self.objective, limits=set_)

    @property
    def weighs(self) -> bool:
        """Whether the memory of every plan is measured."""
        return self.max_memory_mb is not None or self.objective is Objective.MEMORY
