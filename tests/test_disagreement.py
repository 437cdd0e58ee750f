"""Acquisition functions of several predictions, against their definitions on stored arrays."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from scipy.special import log_softmax, rel_entr
from scipy.stats import entropy as entropy_of

from tasks import registry
from tasks.infer.disagreement import bald, mean_std, predictive_entropy, variation_ratios
from tasks.infer.samples import Accumulator, Samples

ALL = [registry.resolve(registry.SAMPLED_ACQUISITIONS, name) for name in registry.SAMPLED_ACQUISITIONS]


def samples_of(logits: npt.NDArray[np.floating]) -> Samples:
    """Statistics of K predictions given as logits (K, n, classes)."""
    logs = torch.log_softmax(torch.from_numpy(logits).float(), dim=2)
    accumulator = Accumulator(logs.shape[1], logs.shape[2], torch.device("cpu"))
    for block in logs.split(3):
        accumulator.add(block)
    return accumulator.samples()


@pytest.fixture
def logits() -> npt.NDArray[np.float32]:
    """20 predictions of 50 items in 7 classes, some sure, some torn."""
    random = np.random.default_rng(0)
    scale = random.uniform(0.1, 10, (1, 50, 1))
    return (random.normal(size=(20, 50, 7)) * scale).astype(np.float32)


def probabilities(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    return np.exp(log_softmax(logits.astype(np.float64), axis=2))


def test_predictive_entropy_is_the_entropy_of_the_mean(logits) -> None:
    expected = entropy_of(probabilities(logits).mean(axis=0), axis=1)
    np.testing.assert_allclose(predictive_entropy(samples_of(logits)), expected, rtol=1e-6)


def test_bald_is_the_mean_divergence_of_the_predictions_from_their_mean(logits) -> None:
    p = probabilities(logits)
    expected = rel_entr(p, p.mean(axis=0)).sum(axis=2).mean(axis=0)
    np.testing.assert_allclose(bald(samples_of(logits)), expected, rtol=1e-5, atol=1e-7)


def test_variation_ratios_count_the_predictions_that_differ_from_the_mode(logits) -> None:
    first = logits.argmax(axis=2)
    expected = [np.mean(column != np.bincount(column).argmax()) for column in first.T]
    np.testing.assert_allclose(variation_ratios(samples_of(logits)), expected, rtol=1e-12)


def test_mean_std_is_the_mean_over_classes_of_the_population_deviation(logits) -> None:
    expected = probabilities(logits).std(axis=0, ddof=0).mean(axis=1)
    np.testing.assert_allclose(mean_std(samples_of(logits)), expected, rtol=1e-5)


@given(
    stn.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 4)),
        elements=st.floats(-1e4, 1e4, width=32),
    )
)
def test_scores_are_finite_and_within_their_ranges(logits) -> None:
    count, items, classes = logits.shape
    samples = samples_of(logits)
    bounds = {
        predictive_entropy: np.log(classes),
        variation_ratios: 1 - 1 / min(count, classes),
        bald: np.log(min(count, classes)),
        mean_std: 0.5,
    }
    for function in ALL:
        scores = function(samples)
        assert scores.dtype == np.float64
        assert scores.shape == (items,)
        assert (scores >= 0).all()
        assert (scores <= bounds[function] + 1e-6).all()


@pytest.mark.parametrize("function", ALL)
def test_contradicting_sure_predictions_score_high_and_agreeing_ones_zero(function) -> None:
    # Both probabilities underflow to 0 or reach 1: in the first item the predictions contradict each other.
    logits = np.array([[[3e38, -3e38], [3e38, -3e38]], [[-3e38, 3e38], [3e38, -3e38]]], dtype=np.float32)
    scores = function(samples_of(logits))
    assert scores[0] > 0.4
    assert scores[1] == 0
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("function", [bald, variation_ratios, mean_std])
def test_predictions_that_agree_on_being_unsure_do_not_disagree(function) -> None:
    scores = function(samples_of(np.zeros((9, 4, 3), dtype=np.float32)))
    assert (scores >= 0).all()
    assert scores.max() < 1e-15


@pytest.mark.parametrize("function", ALL)
def test_undefined_outputs_give_undefined_scores(function) -> None:
    assert np.isnan(function(samples_of(np.full((2, 1, 3), np.nan, dtype=np.float32)))).all()
