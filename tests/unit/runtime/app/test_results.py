"""Stages after inference."""

from __future__ import annotations

import numpy as np
import pytest

from qsdnn_runtime.app.boxes import anchored, anchors, centred, detections, distances, suppressed
from qsdnn_runtime.app.classes import embedding, segments, softmax, top, values
from qsdnn_runtime.app.keypoints import peaks, points
from qsdnn_runtime.app.stage import AppError, Result, Sample

IMAGE = Sample(np.zeros((1, 3, 32, 64), np.float32), scale=(2.0, 3.0), origin=(10.0, 20.0))


def result(**outputs):
    arrays = {name: np.asarray(value, np.float32) for name, value in outputs.items()}
    return Result(arrays, {}, IMAGE)


def test_the_best_classes_by_name():
    found = top(softmax(result(y=[[0.0, 2.0, 1.0]])), count=2, labels=["a", "b", "c"]).found
    assert [(one["label"], one["index"]) for one in found["classes"]] == [("b", 1), ("c", 2)]
    assert sum(softmax(result(y=[[0.0, 2.0, 1.0]])).outputs["y"][0]) == pytest.approx(1)
    assert top(result(y=[0.1, 0.2]), least=0.15).found["classes"][0]["label"] == "1"
    assert len(top(result(y=[0.1, 0.2]), least=0.15).found["classes"]) == 1


def test_numbers_and_vectors():
    assert values(result(y=[3.0]), names=["age"], scale=10).found["values"] == {"age": 30.0}
    assert embedding(result(y=[[3.0, 4.0]])).found["embedding"] == pytest.approx([0.6, 0.8])
    scores = np.zeros((1, 2, 2, 3))
    scores[0, 1, 0] = 1
    found = segments(result(y=scores), labels=["road", "car"]).found
    assert found["mask"].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert found["shares"] == {"road": 0.5, "car": 0.5}


def test_boxes_of_anchors():
    priors = anchors((32, 64), [16, 32], [[8, 16], [32]])
    assert len(priors) == 2 * 4 * 2 + 2 and priors[0].tolist() == [8, 8, 8, 8]
    assert priors[1].tolist() == [8, 8, 16, 16] and priors[-1].tolist() == [48, 16, 32, 32]
    told = np.zeros((1, len(priors), 4))
    told[0, 0] = [1, 0, np.log(2) / 0.2, 0]
    found = anchored(result(b=told), "b", [16, 32], [[8, 16], [32]]).outputs["b"]
    np.testing.assert_allclose(found[0], [8.8 - 8, 4, 8.8 + 8, 12], rtol=1e-6)
    np.testing.assert_allclose(found[-1], [32, 0, 64, 32])


def test_boxes_of_distances():
    told = np.ones((1, 8 + 2, 4))
    found = distances(result(b=told), "b", [16, 32]).outputs["b"]
    np.testing.assert_allclose(found[0], [-8, -8, 24, 24])
    np.testing.assert_allclose(found[-1], [16, -16, 80, 48])
    bins = np.zeros((1, 10, 4 * 3))
    bins[..., 2::3] = 50.0  # each distance is surely 2
    wide = distances(result(b=bins), "b", [16, 32], bins=3).outputs["b"]
    np.testing.assert_allclose(wide[0], [8 - 32, 8 - 32, 8 + 32, 8 + 32])


def test_the_best_of_boxes_that_overlap_in_the_source():
    boxes = [[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 10]]
    scores = [[0, 0.8, 0], [0, 0.9, 0], [0, 0.5, 0.1], [0, 0.1, 0.7]]
    found = detections(
        result(b=[boxes], s=[scores]), "b", "s", first=1, labels=["cat", "dog"]
    ).found["boxes"]
    assert [(one["label"], round(one["score"], 1)) for one in found] == [
        ("cat", 0.9), ("dog", 0.7), ("cat", 0.5),
    ]  # fmt: skip
    assert found[0]["box"] == [12.0, 20.0, 32.0, 50.0]
    assert detections(result(b=[boxes], s=[scores]), "b", "s", count=1, first=1).found["boxes"]
    assert centred(result(b=[[5, 5, 4, 2]]), "b").outputs["b"].tolist() == [[3, 4, 7, 6]]


def test_suppression_keeps_what_touches_and_drops_what_overlaps():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (60, 2))
    boxes, scores = np.hstack([corner, corner + rng.uniform(5, 20, (60, 2))]), rng.random(60)
    kept = suppressed(boxes, scores, 0.4)
    assert list(scores[kept]) == sorted(scores[kept], reverse=True)

    def iou(a, b):
        w, h = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
        shared = max(w, 0) * max(h, 0)
        return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)

    for i in range(60):
        better = [k for k in kept if scores[k] > scores[i] and iou(boxes[k], boxes[i]) > 0.4]
        assert (i in kept) == (not better)


def test_keypoints_in_the_source():
    found = points(result(y=[[0.5, 0.5, 0, 1]]), unit="share", names=["nose", "chin"]).found
    assert found["points"][0] == {"name": "nose", "x": 74.0, "y": 68.0, "score": 1.0}
    assert points(result(y=[[1, 2]])).found["points"][0]["x"] == 12.0
    maps = np.zeros((1, 2, 8, 16))
    maps[0, 0, 3, 5], maps[0, 0, 3, 6], maps[0, 1, 0, 0] = 1.0, 0.5, 0.2
    (peak,) = peaks(result(y=maps), least=0.5).found["points"]
    assert (peak["x"], peak["y"]) == (10 + 2 * 5.75 * 4, 20 + 3 * 3.5 * 4)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: top(result(a=[1], b=[2])), "no output ''; the network has a, b"),
        (lambda: top(result(a=[1]), output="c"), "no output 'c'"),
        (lambda: top(result(a=[1, 2]), labels=["x"]), "1 labels for 2 classes"),
        (lambda: values(result(a=[1, 2])), "1 names for 2 numbers"),
        (lambda: segments(result(a=[1])), "no map of classes"),
        (lambda: anchored(result(b=[[1, 2, 3, 4]]), "b", [16], [[8]]), "1 boxes for 8 anchors"),
        (lambda: distances(result(b=[[1, 2, 3, 4]]), "b", [16]), "1 boxes for 8 places"),
        (lambda: detections(result(b=[[1, 2, 3, 4]], s=[]), "b", "s"), "0 scores for 1 boxes"),
        (lambda: points(result(a=[1, 2, 3])), "3 numbers in 'pixels' are no points"),
        (lambda: points(result(a=[1, 2]), names=["a", "b"]), "2 names for 1 points"),
        (lambda: peaks(result(a=[1, 2])), "no heat maps"),
    ],
)
def test_what_does_not_fit_is_told(act, said):
    with pytest.raises(AppError, match=said):
        act()
