"""Measures of a model against slow, plain computations."""

import json
import math

import numpy as np
import pytest

from tasks.task_type.class_scores import accuracy, confusion, ece, evaluate, nll

N, CLASSES = 200, 4


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and labels of 200 items in 4 classes, the last of which has no items."""
    random = np.random.default_rng(3)
    logits = random.normal(0, 2, (N, CLASSES))
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logs.astype(np.float32), random.integers(0, CLASSES - 1, N)


def test_accuracy_and_nll_are_means_over_items(scored) -> None:
    logs, labels = scored
    hits = sum(max(range(CLASSES), key=lambda c: row[c]) == label for row, label in zip(logs, labels, strict=True))
    assert accuracy(logs, labels) == hits / N
    expected = -sum(float(row[label]) for row, label in zip(logs, labels, strict=True)) / N
    assert nll(logs, labels) == pytest.approx(expected)


def test_ece_is_the_weighted_gap_of_fifteen_bins(scored) -> None:
    logs, labels = scored
    expected = 0.0
    for low in range(15):
        inside = [
            (math.exp(max(map(float, row))), int(np.argmax(row)) == label)
            for row, label in zip(logs, labels, strict=True)
            if low / 15 < math.exp(max(map(float, row))) <= (low + 1) / 15
        ]
        if inside:
            confidence, right = (sum(values) / len(inside) for values in zip(*inside, strict=True))
            expected += len(inside) / N * abs(right - confidence)
    assert ece(logs, labels) == pytest.approx(expected, abs=1e-6)


def test_ece_of_a_sure_and_right_model_is_zero_and_of_a_sure_and_wrong_one_is_one() -> None:
    sure = np.log(np.array([[1.0, 1e-30]] * 5))
    assert ece(sure, np.zeros(5, dtype=np.int64)) == pytest.approx(0)
    assert ece(sure, np.ones(5, dtype=np.int64)) == pytest.approx(1)


def test_confusion_counts_true_rows_and_predicted_columns(scored) -> None:
    logs, labels = scored
    expected = [[0] * CLASSES for _ in range(CLASSES)]
    for row, label in zip(logs, labels, strict=True):
        expected[label][int(np.argmax(row))] += 1
    assert confusion(logs, labels).tolist() == expected


def test_class_without_items_has_no_accuracy_and_all_is_plain_json(scored) -> None:
    measured = evaluate(*scored, classes=["a", "b", "c", "d"])
    assert measured["per_class"]["d"] is None
    row = measured["confusion"][0]
    assert measured["per_class"]["a"] == row[0] / sum(row)
    assert json.loads(json.dumps(measured)) == measured
