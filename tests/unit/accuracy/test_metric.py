"""Metrics against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from qsdnn.accuracy.metric import (
    AGREEMENT,
    DB_LIMIT,
    DEVIATION,
    answers,
    metric_named,
    sqnr_db,
    usual_metric,
)
from qsdnn.errors import InputError

SCORES = np.array(
    [
        [0.1, 0.5, 0.2, 0.0, 0.3, 0.4, 0.0],  # 1, then 5 4 2 0
        [0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6],  # 0, then 6 5 4 3
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],  # 6, then the first of equal ones
        [0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1],  # 0, then 1 2 3 4
    ],
    np.float32,
)
OUTPUTS = {"scores": SCORES}


def test_top1_and_top5_by_hand():
    labels = np.array([1, 6, 5, 0])
    assert metric_named("top1").score(OUTPUTS, labels) == 2 / 4
    assert metric_named("top5").score(OUTPUTS, labels) == 3 / 4
    assert metric_named("top1").score({"a": SCORES[:, :, None, None]}, labels) == 2 / 4
    assert metric_named("top5").score({"a": SCORES[:, :3]}, np.array([1, 0, 2, 2])) == 1.0


def test_top_k_is_what_sorting_gives():
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((300, 20)), rng.integers(0, 20, 300)
    for name, k in (("top1", 1), ("top5", 5)):
        ranks = [(row > row[label]).sum() for row, label in zip(scores, labels, strict=True)]
        assert metric_named(name).score({"a": scores}, labels) == np.mean(np.array(ranks) < k)


def test_nothing_that_is_no_number_is_right():
    scores = SCORES.copy()
    scores[0, 1] = np.nan
    assert metric_named("top1").score({"a": scores}, np.array([1, 0, 6, 0])) == 3 / 4


def test_mse_by_hand():
    metric = metric_named("mse")
    outputs = {"y": np.array([[1.0], [2.0], [4.0]], np.float32)}
    assert metric.score(outputs, np.array([1, 0, 1])) == (0 + 4 + 9) / 3
    assert not metric.higher_is_better
    with pytest.raises(InputError, match=r"output has shape \[3, 1\], the labels \[3, 2\]"):
        metric.score(outputs, np.ones((3, 2)))


def test_what_is_usual():
    line = {"y": np.ones((4, 1), np.float32)}
    assert usual_metric(np.array([1, 2]), OUTPUTS).name == "top1"
    assert usual_metric(np.array([1.5, 2]), line).name == "mse"
    assert usual_metric(None, OUTPUTS) is AGREEMENT
    for other in (line, {"mask": np.ones((4, 7, 5, 5), np.float32)}, {"i": np.ones((4, 7), int)}):
        assert usual_metric(None, other) is DEVIATION


def test_without_labels_fp32_has_the_right_answers():
    labels = answers(AGREEMENT, None, OUTPUTS)
    assert labels is not None and labels.tolist() == [1, 0, 6, 0]
    changed = SCORES.copy()
    changed[3, 1] = 0.8
    assert AGREEMENT.score(OUTPUTS, labels) == 1.0
    assert AGREEMENT.score({"scores": changed}, labels) == 3 / 4
    line = {"y": np.arange(4, dtype=np.float32)[:, None]}
    found = answers(DEVIATION, None, line)
    assert DEVIATION.score(line, found) == 0.0
    assert DEVIATION.score({"y": line["y"] + 2}, found) == 4.0
    given = np.array([3, 3, 3, 3])
    assert answers(metric_named("top1"), given, OUTPUTS) is given


def test_sqnr_by_hand():
    reference = {"a": np.array([[3.0, 4.0]], np.float32), "b": np.array([[1.0]], np.float32)}
    noisy = {"a": np.array([[3.5, 4.0]], np.float32), "b": np.array([[1.1]], np.float32)}
    assert sqnr_db(noisy, reference) == pytest.approx(20.0)  # 25 / 0.25 and 1 / 0.01
    worse = noisy | {"b": np.array([[0.0]], np.float32)}
    assert sqnr_db(worse, reference) == pytest.approx(0.0)
    assert sqnr_db(reference, reference) == DB_LIMIT
    assert sqnr_db(reference | {"b": np.array([[np.nan]])}, reference) == -DB_LIMIT
    zero = {"a": np.zeros((1, 2), np.float32)}
    assert sqnr_db(noisy, zero) == -DB_LIMIT and sqnr_db(zero, zero) == DB_LIMIT
    whole = {"a": np.array([[1, 2]])}
    assert sqnr_db({"a": np.array([[2, 2]])}, whole) == DB_LIMIT, "only floats have noise"
    infinite = {"a": np.array([[-np.inf, 1.0]])}
    assert sqnr_db({"a": np.array([[-np.inf, 1.1]])}, infinite) == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array([0, 7, 1, 1]), "a label is 7, but the network has 7 classes, 0 to 6"),
        (np.array([0, -1, 1, 1]), "a label is -1, but"),
        (np.array([0, 0.5, 1, 1]), "one whole number a sample, the labels are float64"),
        (np.ones((4, 7), int), "one whole number a sample, the labels are int64"),
        (None, "top1 needs labels"),
    ],
)
def test_labels_that_top1_cannot_use(labels, said):
    with pytest.raises(InputError, match=said):
        metric_named("top1").score(OUTPUTS, labels)


def test_outputs_that_top1_cannot_use_and_a_name_that_is_none():
    with pytest.raises(InputError, match="no scores of classes"):
        metric_named("top1").score({"y": np.ones((4, 1), np.float32)}, np.zeros(4, int))
    with pytest.raises(InputError, match="did you mean 'top1'"):
        metric_named("top-1")
