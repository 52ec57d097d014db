"""What a search is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qsdnn.accuracy.config import AccuracyConfig
from qsdnn.primitive import Precision


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
        budget_s: Wall time after which no new round starts.
        measurements: Plans to measure at the most, uniform ones included and the final left out;
            any number when None.
        seed: Of all chance.
        inputs: ``.npz`` of inputs; random ones when None.
        tolerance: Largest relative error of an output.
        log_dir: Where TensorBoard event files go; none when None.
        remeasure: Ignore what the store knows.
        accuracy: What may be lost, and on which data; None: outputs must equal those of fp32.
        max_memory_mb: Most memory that a plan may take; any when None.
        pareto: Also measure the front of latency and accuracy.
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
    seed: int = 0
    inputs: Path | None = None
    tolerance: float = 1e-4
    log_dir: Path | None = None
    remeasure: bool = False
    accuracy: AccuracyConfig | None = None
    max_memory_mb: float | None = None
    pareto: bool = False
    command: str = ""
