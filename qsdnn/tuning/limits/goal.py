"""Objectives: what the best plan has least of, and what of the rest it may have at the most.

Whatever the objective, the search learns latency, which adds up over layers. Memory and energy do
not: they are measured of whole plans, and decide among those that were measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from qsdnn.board import Record

TIE = 1.01
"""What is within this factor of the least is as good: what runs of the same plan differ by."""


class Objective(StrEnum):
    """What a plan is to have least of."""

    LATENCY = "latency"
    MEMORY = "memory"
    ENERGY = "energy"

    @property
    def unit(self) -> str:
        """Of `Cost.of`."""
        return {"latency": "ms", "memory": "MB", "energy": "mJ"}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a plan was measured to take; None where it was not measured.

    Attributes:
        latency_ms: Of one inference.
        memory_mb: Most that a process took which ran it.
        energy_mj: Of one inference.
    """

    latency_ms: float
    memory_mb: float | None = None
    energy_mj: float | None = None

    def of(self, objective: Objective) -> float | None:
        """By objective, in its unit."""
        return {
            Objective.LATENCY: self.latency_ms,
            Objective.MEMORY: self.memory_mb,
            Objective.ENERGY: self.energy_mj,
        }[objective]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is asked for.

    Attributes:
        objective: What there is to be least of.
        limits: The most there may be, by objective, in its unit; without those that have none.
    """

    objective: Objective
    limits: Mapping[Objective, float]

    @property
    def is_latency_alone(self) -> bool:
        """Whether nothing but the least latency is asked for."""
        return self.objective is Objective.LATENCY and not self.limits

    def asks(self, objective: Objective) -> bool:
        """Whether it matters how much of it a plan takes."""
        return objective is self.objective or objective in self.limits

    def refusal(self, cost: Cost) -> str:
        """Which limits a plan breaks, with numbers; empty when it keeps them."""
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
        """How many times its worst limit a plan takes; infinite where that is not known."""
        taken = [(cost.of(objective), most) for objective, most in self.limits.items()]
        return max((float("inf") if t is None else t / most for t, most in taken), default=0.0)

    def order(self, costs: Iterable[Cost]) -> list[int]:
        """Indices of those whose objective is known, best first; of near ties the faster."""
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
    """Mean power of the board while it measured; None where no sensor told.

    That of the rails which carry all of it, where the board's spec names some; else the sum of all.
    """
    rails: Mapping[str, float] = record.context.get("power_mw", {})
    supply = [rails[name] for name in record.context.get("supply", ()) if name in rails]
    return sum(supply or rails.values()) if rails else None


def energy_mj(record: Record) -> float | None:
    """Of one run, of a plan that was measured alone: mean power times latency."""
    power = power_mw(record)
    return None if power is None else power * record.latency_ms / 1000


def senses_power(record: Record) -> bool:
    """Whether the board has a sensor of power or energy that can be read."""
    reading: Mapping[str, Any] = record.context.get("before", {})
    return bool({"power_mw", "energy_j"} & set(reading.get("sensors", {})))
