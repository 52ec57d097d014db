"""What a search is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qsdnn.accuracy.config import AccuracyConfig
from qsdnn.primitive import Precision
from qsdnn.tuning.limits.goal import Goal, Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """A search, as the command line describes it.

    Attributes:
        model: The network's file.
        shapes: Dimensions of dynamic inputs.
        engines: Which engines may be used; all that the board has when None.
        precisions: Which precisions are allowed.
        threads: Threads an engine may use.
        agent: Name of the agent.
        preset: Its settings.
        episodes: Episodes a round of learning.
        budget_s: Wall time of the whole search, from loading to the verified plan.
        measurements: Plans to measure at the most, uniform and mixed, at least one of each engine;
            any number when None.
        patience: Rounds without a better plan after which the search ends.
        seed: Of all random numbers.
        inputs: ``.npz`` of inputs; random ones when None.
        tolerance: Largest relative error of an output.
        log_dir: Where TensorBoard event files go; none when None.
        remeasure: Ignore what the store knows.
        accuracy: What may be lost, and on which data; None: outputs must equal those of fp32.
        objective: What the plan is to have least of.
        max_memory_mb: Most memory that a plan may take; any when None.
        max_latency_ms: Likewise of latency.
        max_energy_mj: Likewise of energy.
        pareto: Also measure the front of latency, accuracy and memory.
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

        Memory is not among them: what takes too much counts as failed as soon as it is measured.
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
