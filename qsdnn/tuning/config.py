"""The settings of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qsdnn.accuracy.loss import AccuracyConfig
from qsdnn.primitive import Precision
from qsdnn.tuning.limits.goal import Goal, Objective


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
        measurements: The number of plans to measure at the most, uniform and mixed, at least one of
            each engine; None is any number.
        patience: The number of rounds without a better plan after which the search ends.
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
