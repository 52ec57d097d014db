"""What a user says of accuracy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qsdnn.accuracy.budget import Budget
from qsdnn.accuracy.function import load_function
from qsdnn.accuracy.metric import Metric, metric_named
from qsdnn.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyConfig:
    """What the user says of accuracy.

    Attributes:
        calibration: File or folder of samples.
        labels: Their labels, if not in that file.
        metric: Name of a metric; what is usual for the labels when None.
        evaluator: ``module:function`` in place of it.
        budget: What may be lost.
        method: How ranges are found: see `qsdnn.accuracy.calibrator`.
    """

    calibration: Path
    labels: Path | None = None
    metric: str | None = None
    evaluator: str | None = None
    budget: Budget = field(default_factory=Budget)
    method: str = "minmax"

    def judge(self) -> Metric | None:
        """The metric that is asked for; None for the usual one.

        Raises:
            InputError: There is no such metric or function.
        """
        if self.evaluator is not None and self.metric is not None:
            raise InputError("--metric and --evaluator exclude each other", hint="give one of them")
        if self.evaluator is not None:
            return load_function(self.evaluator)
        return None if self.metric is None else metric_named(self.metric)
