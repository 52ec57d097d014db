"""The accuracy that a plan loses, and what the user says of it: how much, and on which data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from qsdnn.accuracy.function import load_function
from qsdnn.accuracy.metric import Metric, metric_named
from qsdnn.errors import InputError

ROUNDING = 1e-9
"""Slack for rounding: a drop of one sample in a hundred, 0.97 − 0.96, exceeds 0.01 a little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A plan's metric beside that of fp32, on the same samples.

    Attributes:
        metric: The metric's name.
        reference: The score of the network in fp32, computed by onnxruntime.
        plan: The plan's score.
        drop: The difference of the plan's score to the reference, absolute: positive where the plan
            is worse.
        sqnr_db: The ratio of signal to quantization noise of the outputs in dB, against fp32.
        samples: The number of samples that both scores are of.
    """

    metric: str
    reference: float
    plan: float
    drop: float
    sqnr_db: float
    samples: int

    def meets(self, limit: LossLimit) -> bool:
        """Whether a limit allows this loss."""
        return limit.allows(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossLimit:
    """The loss of accuracy that the user allows.

    Attributes:
        max_drop: The largest `Loss.drop`, or share of `Loss.reference`; None allows any.
        relative: Whether `max_drop` is a share of the reference instead of an absolute number.
        min_sqnr_db: The least `Loss.sqnr_db`, in dB; None allows any.
    """

    max_drop: float | None = None
    relative: bool = False
    min_sqnr_db: float | None = None

    def allows(self, loss: Loss) -> bool:
        """Whether a plan of that loss keeps within the limit."""
        return not self.refusal(loss)

    def largest_drop(self, reference: float) -> float:
        """The absolute drop that is allowed, given the score of fp32."""
        if self.max_drop is None:
            return math.inf
        return self.max_drop * (abs(reference) if self.relative else 1.0)

    def refusal(self, loss: Loss) -> str:
        """What a plan breaks, with numbers; empty when it keeps within the limit."""
        said = []
        limit = self.largest_drop(loss.reference)
        if not loss.drop <= limit + ROUNDING:  # also a drop that is no number
            said.append(
                f"{loss.metric} is {loss.plan:.4g}, {loss.drop:.4g} worse than "
                f"{loss.reference:.4g} in fp32; {limit:.4g} is allowed"
            )
        if self.min_sqnr_db is not None and not loss.sqnr_db >= self.min_sqnr_db:
            said.append(f"SQNR is {loss.sqnr_db:.1f} dB, {self.min_sqnr_db:g} dB is asked")
        return "; ".join(said)

    def __str__(self) -> str:
        said = []
        if self.max_drop is not None:
            size = f"{100 * self.max_drop:g} %" if self.relative else f"{self.max_drop:g}"
            said.append(f"drop ≤ {size}")
        if self.min_sqnr_db is not None:
            said.append(f"SQNR ≥ {self.min_sqnr_db:g} dB")
        return ", ".join(said) or "no limit"


def parse_loss_limit(max_drop: str | None = None, min_sqnr: str | None = None) -> LossLimit:
    """A limit from ``--max-drop`` and ``--min-sqnr``.

    Args:
        max_drop: A drop such as ``0.01``, absolute, or ``1%`` of the score of fp32.
        min_sqnr: A ratio such as ``30``, in decibels.

    Raises:
        InputError: One of the two has another form.
    """
    share = max_drop is not None and max_drop.strip().endswith("%")
    drop = max_drop if max_drop is None else max_drop.strip().removesuffix("%")
    number = _number("--max-drop", drop, max_drop, "0.01 (absolute) or 1% (of what fp32 has)")
    if number is not None and number < 0:
        raise InputError(f"--max-drop {max_drop}: a drop is not negative", hint="for example 0.01")
    bare = None if min_sqnr is None else min_sqnr.strip().lower().removesuffix("db")
    return LossLimit(
        max_drop=number / 100 if share and number is not None else number,
        relative=share,
        min_sqnr_db=_number("--min-sqnr", bare, min_sqnr, "30, in decibels"),
    )


def _number(option: str, text: str | None, written: str | None, example: str) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{option} {written}: no number", hint=f"for example {example}")
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyConfig:
    """The user's settings of accuracy.

    Attributes:
        calibration: The file or folder of samples.
        labels: The file of the samples' labels; None takes those in the samples' file, if any.
        metric: The name of a metric; None takes what is usual for the labels.
        evaluator: The user's own metric as ``module:function``, in place of `metric`; None without.
        loss_limit: The loss of accuracy that is allowed.
        method: The name of the calibrator that finds the ranges: see `qsdnn.model.calibration`.
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
