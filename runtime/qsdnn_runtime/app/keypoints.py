"""Keypoints after inference: landmarks of a face, joints of a body, in pixels of the source."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

from .classes import label_of
from .stage import After, AppError, Result


def points(
    result: Result,
    output: Optional[str] = None,
    unit: str = "pixels",
    names: Sequence[str] = (),
) -> Result:
    """An output of coordinates x, y, x, y, … as ``points``.

    Args:
        result: The result.
        output: The name of the output.
        unit: ``pixels`` of what the network read, or ``share`` of its width and height.
        names: The names of the points, in order.
    """
    numbers = result.output(output).reshape(-1)
    if len(numbers) % 2 or unit not in ("pixels", "share"):
        raise AppError("points: %d numbers in '%s' are no points" % (len(numbers), unit))
    places = numbers.reshape(-1, 2).astype(np.float64)
    if unit == "share":
        height, width = result.sample.values.shape[-2:]
        places = places * [width, height]
    return result.finding(points=_named(result, places, np.ones(len(places)), names))


def peaks(
    result: Result,
    output: Optional[str] = None,
    least: float = 0.0,
    names: Sequence[str] = (),
) -> Result:
    """The highest place of each heat map, as ``points`` with scores.

    The place is moved a quarter of a cell towards the higher neighbour in each direction (A.
    Newell et al.: Stacked Hourglass Networks, ECCV 2016).

    Args:
        result: The result; the output is (1, points, height, width).
        output: The name of the output.
        least: The least height of a peak that counts.
        names: The names of the points, in order.
    """
    maps = result.output(output)
    if maps.ndim != 4 or len(maps) != 1:
        raise AppError("peaks: no heat maps: an output of shape %s" % (maps.shape,))
    rows, columns = maps.shape[2:]
    flat = maps[0].reshape(len(maps[0]), -1)
    best = flat.argmax(axis=1)
    cells = np.column_stack([best % columns, best // columns]).astype(np.float64)
    for cell, heat in zip(cells, maps[0]):
        x, y = int(cell[0]), int(cell[1])
        if 0 < x < columns - 1:
            cell[0] += 0.25 * np.sign(heat[y, x + 1] - heat[y, x - 1])
        if 0 < y < rows - 1:
            cell[1] += 0.25 * np.sign(heat[y + 1, x] - heat[y - 1, x])
    height, width = result.sample.values.shape[-2:]
    places = (cells + 0.5) * [width / columns, height / rows]
    found = _named(result, places, flat.max(axis=1), names)
    return result.finding(points=[point for point in found if point["score"] >= least])


STAGES: Mapping[str, After] = {"peaks": peaks, "points": points}
"""The stages that give keypoints, by name."""


def _named(
    result: Result, places: np.ndarray, scores: np.ndarray, names: Sequence[str]
) -> List[Dict[str, Any]]:
    if names and len(names) != len(places):
        raise AppError("%d names for %d points" % (len(names), len(places)))
    there = result.sample.to_source(places)
    return [
        {"name": label_of(names, i), "x": float(x), "y": float(y), "score": float(score)}
        for i, ((x, y), score) in enumerate(zip(there, scores))
    ]
