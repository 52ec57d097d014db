"""Boxes after inference: from anchors or distances to boxes, the best of those that overlap.

Boxes are arrays (boxes, 4): left, top, right, bottom, in pixels of what the network reads, until
`detections` puts them into the source.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from .classes import label_of
from .stage import After, AppError, Result


def anchored(
    result: Result,
    boxes: str,
    strides: Sequence[int],
    sizes: Sequence[Sequence[float]],
    variances: Sequence[float] = (0.1, 0.2),
) -> Result:
    """Boxes that are told as shifts of anchors, as SSD and RetinaFace do.

    W. Liu et al.: SSD: Single Shot MultiBox Detector, ECCV 2016: a box's centre is that of its
    anchor shifted by the anchor's size times the first two numbers, its size the anchor's times the
    exponential of the other two; each times a variance.

    Args:
        result: The result; the output has four numbers for each anchor.
        boxes: The name of the output, which is replaced by boxes.
        strides: The distance of anchors, by level, in pixels.
        sizes: The sizes of the square anchors at each place, by level, in pixels.
        variances: The factors of shifts and of sizes.
    """
    told = result.output(boxes).reshape(-1, 4).astype(np.float64)
    priors = anchors(_read_size(result), strides, sizes)
    if len(priors) != len(told):
        raise AppError("anchored: %d boxes for %d anchors" % (len(told), len(priors)))
    centres = priors[:, :2] + told[:, :2] * variances[0] * priors[:, 2:]
    halves = priors[:, 2:] * np.exp(told[:, 2:] * variances[1]) / 2
    return result.changing(**{boxes: np.hstack([centres - halves, centres + halves])})


def anchors(
    size: Tuple[int, int], strides: Sequence[int], sizes: Sequence[Sequence[float]]
) -> np.ndarray:
    """The anchors (anchors, 4) as x and y of the centre, width and height; row by row."""
    found = []
    for stride, at_place in zip(strides, sizes):
        centres = places(size, stride)
        for_each = [np.column_stack([centres, np.full((len(centres), 2), s)]) for s in at_place]
        found.append(np.stack(for_each, axis=1).reshape(-1, 4))
    return np.vstack(found)


def places(size: Tuple[int, int], stride: int) -> np.ndarray:
    """The middles (places, 2) of the cells of a grid, x and y, row by row."""
    rows, columns = (-(-length // stride) for length in size)
    y, x = np.mgrid[:rows, :columns]
    return np.asarray((np.column_stack([x.reshape(-1), y.reshape(-1)]) + 0.5) * stride)


def distances(result: Result, boxes: str, strides: Sequence[int], bins: int = 0) -> Result:
    """Boxes that are told as distances to their four sides, without anchors.

    Z. Tian et al.: FCOS, ICCV 2019; with `bins`, each distance is the mean of a distribution (X. Li
    et al.: Generalized Focal Loss, NeurIPS 2020), as in NanoDet.

    Args:
        result: The result; the output has the distances from each place, in strides.
        boxes: The name of the output, which is replaced by boxes.
        strides: The distance of places, by level, in pixels.
        bins: The number of bins of a distribution; 0: the distances themselves.
    """
    told = result.output(boxes).astype(np.float64)
    if bins:
        told = _means(told.reshape(-1, 4, bins))
    told, size = told.reshape(-1, 4), _read_size(result)
    centres = [places(size, stride) for stride in strides]
    factors = np.concatenate([np.full(len(c), s) for c, s in zip(centres, strides)])
    if len(factors) != len(told):
        raise AppError("distances: %d boxes for %d places" % (len(told), len(factors)))
    told, middle = told * factors[:, None], np.vstack(centres)
    sides = np.hstack([middle - told[:, :2], middle + told[:, 2:]])
    return result.changing(**{boxes: sides})


def centred(result: Result, boxes: str) -> Result:
    """Boxes that are told as x and y of their centre, width and height, in pixels."""
    told = result.output(boxes).reshape(-1, 4)
    halves = told[:, 2:] / 2
    sides = np.hstack([told[:, :2] - halves, told[:, :2] + halves])
    return result.changing(**{boxes: sides})


def detections(
    result: Result,
    boxes: str,
    scores: str,
    least: float = 0.3,
    overlap: float = 0.5,
    count: int = 100,
    labels: Sequence[str] = (),
    first: int = 0,
) -> Result:
    """The boxes that score best, without those that overlap a better one of their class.

    Args:
        result: The result.
        boxes: The name of the output of boxes.
        scores: The name of the output of scores: for each box, one a class.
        least: The least score.
        overlap: The intersection over union from which on two boxes show the same thing.
        count: The number of boxes at the most.
        labels: The names of the classes, from the first that counts.
        first: The first class that counts: 1 where the class 0 is the background.

    Returns:
        The result with ``boxes``: box in pixels of the source, label, index, score; best first.
    """
    sides = result.output(boxes).reshape(-1, 4)
    marks = result.output(scores)
    if marks.size == 0 or len(sides) == 0 or marks.size % len(sides):
        raise AppError("detections: %d scores for %d boxes" % (marks.size, len(sides)))
    marks = marks.reshape(len(sides), -1)[:, first:]
    found: List[Tuple[float, int, int]] = []
    for index in range(marks.shape[1]):
        some = np.flatnonzero(marks[:, index] >= least)
        kept = some[suppressed(sides[some], marks[some, index], overlap)]
        found += [(float(marks[box, index]), int(box), index) for box in kept]
    best = sorted(found, key=lambda one: -one[0])[:count]
    return result.finding(boxes=[_named(result, sides, one, labels) for one in best])


def suppressed(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """The indices of boxes that overlap no better one by more than a limit, best first."""
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        kept.append(left[0])
        shared = overlaps(boxes[left[0]], boxes[left[1:]])
        left = left[1:][shared <= overlap]
    return np.array(kept, dtype=np.int64)


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The intersection over union of a box (4,) with others (boxes, 4)."""
    corner = np.maximum(box[:2], others[:, :2])
    sides = np.maximum(np.minimum(box[2:], others[:, 2:]) - corner, 0.0)
    shared = sides[:, 0] * sides[:, 1]
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    union = (box[2] - box[0]) * (box[3] - box[1]) + areas - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


STAGES: Mapping[str, After] = {
    "anchored": anchored,
    "centred": centred,
    "detections": detections,
    "distances": distances,
}
"""The stages that give boxes, by name."""


def _named(
    result: Result, sides: np.ndarray, one: Tuple[float, int, int], labels: Sequence[str]
) -> Dict[str, Any]:
    score, box, index = one
    corners = result.sample.to_source(sides[box].reshape(2, 2)).reshape(-1)
    return {
        "box": [float(value) for value in corners],
        "label": label_of(labels, index),
        "index": index,
        "score": score,
    }


def _means(logits: np.ndarray) -> np.ndarray:
    """The means (…) of distributions over 0, 1, …, told by logits (…, bins)."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers @ np.arange(logits.shape[-1]) / powers.sum(axis=-1))


def _read_size(result: Result) -> Tuple[int, int]:
    """The height and the width of what the network read, (1, channels, height, width)."""
    shape: Optional[Tuple[int, ...]] = result.sample.values.shape
    if shape is None or len(shape) != 4:
        raise AppError("the network reads no image (1, channels, height, width)")
    return int(shape[2]), int(shape[3])
