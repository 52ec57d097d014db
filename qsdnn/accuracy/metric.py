"""Metrics: one number for how good a network's outputs are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qsdnn.errors import InputError, unknown

Array = NDArray[Any]
Outputs = Mapping[str, Array]

DB_LIMIT = 200.0
"""The SQNR in dB of equal outputs, instead of infinity: rounding to float32 alone leaves about
140."""


class Metric(Protocol):
    """A measure of how good a network's outputs are."""

    @property
    def name(self) -> str:
        """The metric's name, for people."""

    @property
    def key(self) -> str:
        """The key of stored results: the name, and whatever else decides the score."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher score is better; otherwise a lower one is."""

    def score(self, outputs: Outputs, labels: Array | None) -> float:
        """The score of a network's outputs (samples, …), given by name.

        Raises:
            InputError: The outputs or the labels are not of the kind that the metric takes.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK:
    """The share of samples whose label is among the `k` highest scores of the first output.

    Attributes:
        k: The number of highest scores that count, 1 or more.
        name: The metric's name: ``top1``, ``top5``, or ``agreement`` when what fp32 says is taken
            for the labels.
    """

    k: int
    name: str
    higher_is_better: bool = True

    @property
    def key(self) -> str:
        """See `Metric.key`."""
        return self.name

    def score(self, outputs: Outputs, labels: Array | None) -> float:
        """See `Metric.score`; labels are whole numbers (samples,)."""
        scores = class_scores(outputs)
        if scores is None:
            raise InputError(
                f"{self.name}: the network gives no scores of classes",
                hint="choose another --metric, or give --evaluator MODULE:FUNCTION",
            )
        labels = _classes(labels, scores, self.name)
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
        right = (best == labels[:, None]).any(axis=1) & ~np.isnan(scores).any(axis=1)
        return float(right.mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanSquaredError:
    """The mean squared difference of the first output and the labels."""

    name: str = "mse"
    higher_is_better: bool = False

    @property
    def key(self) -> str:
        """See `Metric.key`."""
        return self.name

    def score(self, outputs: Outputs, labels: Array | None) -> float:
        """See `Metric.score`; labels are of the output's shape, dimensions of 1 left aside."""
        output = np.asarray(next(iter(outputs.values())), np.float64)
        if labels is None:
            raise InputError(f"{self.name} needs labels", hint="give --labels FILE")
        if np.squeeze(output).shape != np.squeeze(labels).shape:
            raise InputError(
                f"{self.name}: the output has shape {list(output.shape)}, the labels "
                f"{list(labels.shape)}",
                hint="give labels of the output's shape, or another --metric",
            )
        return float(np.mean((output - labels.reshape(output.shape)) ** 2))


METRICS: Mapping[str, Metric] = {
    "top1": TopK(k=1, name="top1"),
    "top5": TopK(k=5, name="top5"),
    "mse": MeanSquaredError(),
}
"""The metrics that ``--metric`` can name."""

AGREEMENT: Metric = TopK(k=1, name="agreement")
DEVIATION: Metric = MeanSquaredError(name="mse_to_fp32")


def metric_named(name: str) -> Metric:
    """The metric that ``--metric`` means.

    Raises:
        InputError: There is no metric of that name.
    """
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    return METRICS[name]


def usual_metric(labels: Array | None, reference: Outputs) -> Metric:
    """The metric that is meant when the user names none.

    With labels: top-1, or for labels that are no whole numbers the mean squared error. Without
    labels, the outputs of fp32 stand for them: agreement of top-1 for scores of classes, else the
    mean squared difference.

    Args:
        labels: The right answers; None where there are none.
        reference: The outputs of fp32 on the same samples.
    """
    if labels is not None:
        return METRICS["mse" if labels.dtype.kind == "f" or labels.ndim > 1 else "top1"]
    return DEVIATION if class_scores(reference) is None else AGREEMENT


def answers(metric: Metric, labels: Array | None, reference: Outputs) -> Array | None:
    """The right answers for a metric: the labels, or for a metric against fp32 what fp32 says."""
    scores = class_scores(reference)
    if metric is AGREEMENT and scores is not None:
        return np.asarray(scores.argmax(axis=1))
    return next(iter(reference.values())) if metric is DEVIATION else labels


def sqnr_db(outputs: Outputs, reference: Outputs) -> float:
    """The ratio of signal to quantization noise in dB, of the output that has the most noise.

    10 log10(Σ r² / Σ (o − r)²) over all samples, r the reference; `DB_LIMIT` when they are equal,
    its negative when an output is not finite where the reference is. Outputs that are no floats do
    not count.
    """
    floats = [name for name, array in reference.items() if array.dtype.kind == "f"]
    return min((_sqnr_db(outputs[name], reference[name]) for name in floats), default=DB_LIMIT)


def _sqnr_db(output: Array, reference: Array) -> float:
    finite = np.isfinite(reference)
    clean = reference[finite].astype(np.float64)
    noisy = output[finite].astype(np.float64)
    if not np.isfinite(noisy).all():
        return -DB_LIMIT
    signal, noise = float(np.sum(clean**2)), float(np.sum((noisy - clean) ** 2))
    if not noise:
        return DB_LIMIT
    ratio_db = 10 * np.log10(max(signal, np.finfo(float).tiny) / noise)
    return float(np.clip(ratio_db, -DB_LIMIT, DB_LIMIT))


def class_scores(outputs: Outputs) -> Array | None:
    """The first output as (samples, classes); None when it does not look like scores of classes."""
    output = next(iter(outputs.values()))
    if output.dtype.kind != "f" or output.ndim < 2 or output.size == len(output):
        return None
    flat: Array = output.reshape(len(output), -1)
    return flat if flat.shape[1] == output.shape[1] else None


def _classes(labels: Array | None, scores: Array, name: str) -> Array:
    if labels is None:
        raise InputError(f"{name} needs labels", hint="give --labels FILE")
    if labels.ndim != 1 or not np.array_equal(labels, labels.astype(np.int64)):
        raise InputError(
            f"{name} takes one whole number a sample, the labels are "
            f"{labels.dtype}{list(labels.shape)}",
            hint="choose another --metric: mse",
        )
    classes = scores.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        worst = int(labels.max() if labels.max() >= classes else labels.min())
        raise InputError(
            f"a label is {worst}, but the network has {classes} classes, 0 to {classes - 1}",
            hint="give labels that count from 0, in the order of the network's outputs",
        )
    return labels.astype(np.int64)
