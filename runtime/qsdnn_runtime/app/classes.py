"""Classes after inference: probabilities, the best of them, and the class of each pixel."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

from .stage import After, AppError, Result


def softmax(result: Result, output: Optional[str] = None) -> Result:
    """An output as probabilities along its last dimension."""
    values = result.output(output).astype(np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    name = output or next(iter(result.outputs))
    return result.changing(**{name: (powers / powers.sum(axis=-1, keepdims=True))})


def top(
    result: Result,
    count: int = 5,
    output: Optional[str] = None,
    labels: Sequence[str] = (),
    least: float = 0.0,
) -> Result:
    """The classes of the greatest scores, greatest first, as ``classes``.

    Args:
        result: The result; the output has a score for each class.
        count: The number of classes at the most.
        output: The name of the output.
        labels: The names of the classes, in order; numbers where there are none.
        least: The least score of a class that counts.
    """
    scores = result.output(output).reshape(-1)
    if labels and len(labels) != len(scores):
        raise AppError("top: %d labels for %d classes" % (len(labels), len(scores)))
    order = np.argsort(-scores, kind="stable")[:count]
    found: List[Dict[str, Any]] = [
        {"label": label_of(labels, int(i)), "index": int(i), "score": float(scores[i])}
        for i in order
        if scores[i] >= least
    ]
    return result.finding(classes=found)


def values(
    result: Result,
    output: Optional[str] = None,
    names: Sequence[str] = ("value",),
    scale: float = 1,
) -> Result:
    """The numbers of an output, by names, as ``values``: an age, the angles of a head."""
    numbers = result.output(output).reshape(-1)
    if len(numbers) != len(names):
        raise AppError("values: %d names for %d numbers" % (len(names), len(numbers)))
    found = {name: float(number) * scale for name, number in zip(names, numbers)}
    return result.finding(values=found)


def embedding(result: Result, output: Optional[str] = None) -> Result:
    """An output as a vector of length one, as ``embedding``: vectors of one face are near."""
    vector = result.output(output).reshape(-1).astype(np.float64)
    length = float(np.linalg.norm(vector))
    return result.finding(embedding=(vector / (length or 1.0)).tolist())


def segments(result: Result, output: Optional[str] = None, labels: Sequence[str] = ()) -> Result:
    """The class of each pixel, as ``mask`` (height, width), and the share of each as ``shares``.

    The mask has the size of the network's output (1, classes, height, width).
    """
    scores = result.output(output)
    if scores.ndim != 4 or len(scores) != 1:
        raise AppError("segments: no map of classes: an output of shape %s" % (scores.shape,))
    if labels and len(labels) != scores.shape[1]:
        raise AppError("segments: %d labels for %d classes" % (len(labels), scores.shape[1]))
    mask = scores[0].argmax(axis=0)
    counts = np.bincount(mask.reshape(-1), minlength=scores.shape[1])
    shares = {
        str(label_of(labels, int(i))): float(counts[i] / mask.size) for i in np.flatnonzero(counts)
    }
    return result.finding(mask=mask.astype(np.int32), shares=shares)


STAGES: Mapping[str, After] = {
    "embedding": embedding,
    "segments": segments,
    "softmax": softmax,
    "top": top,
    "values": values,
}
"""The stages that give classes and numbers, by name."""


def label_of(labels: Sequence[str], index: int) -> str:
    """The name of a class; its number where it has none."""
    return labels[index] if index < len(labels) else str(index)
