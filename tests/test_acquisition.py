"""Acquisition functions: values, direction, and that nothing makes them infinite."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tasks.infer.uncertainty import entropy, least_confidence, margin

ALL = [least_confidence, margin, entropy]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """As the product computes it: float32."""
    shifted = logits.astype(np.float32) - logits.astype(np.float32).max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def slow(name: str, row: np.ndarray) -> float:
    """The definition, for one item."""
    p = sorted((math.exp(float(value)) for value in row), reverse=True)
    if name == "least_confidence":
        return 1 - p[0]
    if name == "margin":
        return 1 - (p[0] - p[1])
    return -sum(value * math.log(value) for value in p if value > 0)


logits = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(2, 7)),
    elements=st.floats(-1e4, 1e4, allow_nan=False),
)


@pytest.mark.parametrize("function", ALL)
@given(values=logits)
def test_scores_are_finite_and_equal_the_definition(function, values) -> None:
    logs = log_softmax(values)
    scores = function(logs)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert scores == pytest.approx([slow(function.__name__, row) for row in logs], abs=1e-6)


@pytest.mark.parametrize("function", ALL)
@given(values=logits, order=st.randoms())
def test_order_of_classes_does_not_matter(function, values, order) -> None:
    logs = log_softmax(values)
    shuffled = list(range(logs.shape[1]))
    order.shuffle(shuffled)
    assert function(logs[:, shuffled]) == pytest.approx(function(logs), abs=1e-9)


@pytest.mark.parametrize("function", ALL)
@given(values=logits)
def test_ignorance_scores_highest_and_certainty_lowest(function, values) -> None:
    classes = values.shape[1]
    uniform = np.full((1, classes), -math.log(classes))
    sure = np.full((1, classes), -np.inf)
    sure[0, 0] = 0.0
    scores = function(log_softmax(values))
    assert (scores <= function(uniform) + 1e-6).all()
    assert (scores >= function(sure) - 1e-6).all()


@pytest.mark.parametrize("function", ALL)
def test_certainty_is_exactly_zero_where_logarithms_are_minus_infinity(function) -> None:
    scores = function(np.array([[0.0, -np.inf, -np.inf]]))
    assert scores.tolist() == [0.0]
    assert not np.signbit(scores[0])


@pytest.mark.parametrize("function", ALL)
def test_a_doubtful_item_comes_before_a_clear_one(function) -> None:
    doubtful, clear = function(np.log([[0.5, 0.4, 0.1], [0.9, 0.05, 0.05]]))
    assert doubtful > clear


@pytest.mark.parametrize("function", ALL)
def test_no_items_give_no_scores(function) -> None:
    assert function(np.zeros((0, 3), dtype=np.float32)).shape == (0,)


@pytest.mark.parametrize("function", ALL)
def test_single_class_leaves_no_doubt(function) -> None:
    assert function(np.zeros((2, 1))).tolist() == [0.0, 0.0]


def test_known_values() -> None:
    logs = np.log([[0.7, 0.2, 0.1]])
    assert least_confidence(logs)[0] == pytest.approx(0.3)
    assert margin(logs)[0] == pytest.approx(0.5)
    assert entropy(logs)[0] == pytest.approx(0.8018186)
