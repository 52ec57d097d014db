"""The user's settings of accuracy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qsdnn.accuracy.function import load_function
from qsdnn.accuracy.loss import LossLimit
from qsdnn.accuracy.metric import Metric, metric_named
from qsdnn.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyConfig:
    """The user's settings of accuracy.

    Attributes:
        calibration: The file or folder of samples.
        labels: The file of the samples' labels; None takes those in the samples' file, if any.
        metric: The name of a metric; None takes what is usual for the labels.
        evaluator: The user's own metric as ``module:function``, in place of `metric`; None without.
        loss_limit: The loss of accuracy that is allowed.
        method: The name of the calibrator that finds the ranges: see `qsdnn.accuracy.calibrator`.
    """

    calibration: Path
    labels: Path | None = None
    metric: str | None = None
    evaluator: str | None = None
    loss_limit: LossLimit = field(default_factory=LossLimit)
    method: str = "minmax"

    def judge(self) -> Metric | None:
        """The metric that the user asks for; None for the usual one.

        Raises:
            InputError: There is no such metric or function.
        """
        if self.evaluator is not None and self.metric is not None:
            raise InputError("--metric and --evaluator exclude each other", hint="give one of them")
        if self.evaluator is not None:
            return load_function(self.evaluator)
        return None if self.metric is None else metric_named(self.metric)
