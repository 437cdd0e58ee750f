"""Statistics of a stream of predictions, against the same from all predictions at once."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from tasks.infer.samples import Accumulator
from tasks.infer.spread import Moments, NumbersTaken, predictive_std

CPU = torch.device("cpu")


def log_probabilities(*shape: int, seed: int = 0) -> torch.Tensor:
    """Of random logits; float32."""
    logits = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3
    return torch.log_softmax(logits, dim=-1)


@pytest.mark.parametrize("blocks", [[12], [5, 7], [1] * 12])
def test_statistics_are_those_of_all_predictions_however_they_are_cut(blocks) -> None:
    logs = log_probabilities(12, 5, 4)
    accumulator = Accumulator(5, 4, CPU)
    for block in logs.split(blocks):
        accumulator.add(block)
    samples = accumulator.samples()
    p = np.exp(logs.numpy().astype(np.float64))
    assert samples.count == 12
    np.testing.assert_allclose(samples.mean, p.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(samples.std, p.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(samples.entropy, -(p * np.log(p)).sum(axis=2).mean(axis=0), rtol=1e-6)
    votes = (logs.numpy().argmax(axis=2)[:, :, None] == np.arange(4)).sum(axis=0)
    assert np.array_equal(samples.votes, votes)
    assert [field.dtype for field in (samples.mean, samples.std, samples.entropy)] == [np.float64] * 3
    assert samples.votes.dtype == np.int64


def test_items_may_come_in_parts() -> None:
    logs = log_probabilities(6, 5, 3)
    whole, parts = Accumulator(5, 3, CPU), Accumulator(5, 3, CPU)
    whole.add(logs)
    parts.add(logs[:, 3:], 3)
    parts.add(logs[:2, :3])
    parts.add(logs[2:, :3])
    assert parts.samples().count == 6
    for field in ("mean", "std", "entropy", "votes"):
        np.testing.assert_allclose(getattr(parts.samples(), field), getattr(whole.samples(), field), rtol=1e-12)


def test_equal_predictions_have_no_spread_and_the_lower_class_gets_the_vote_of_a_tie() -> None:
    logs = torch.log(torch.tensor([[0.4, 0.4, 0.2]])).expand(50, 1, 3)
    accumulator = Accumulator(1, 3, CPU)
    for block in logs.split(7):
        accumulator.add(block)
    samples = accumulator.samples()
    assert samples.std.max() < 1e-15
    assert samples.votes.tolist() == [[50, 0, 0]]


def test_probabilities_that_vanish_add_no_entropy() -> None:
    accumulator = Accumulator(1, 3, CPU)
    accumulator.add(torch.tensor([[[0.0, -1e4, -torch.inf]]]))
    assert accumulator.samples().entropy.tolist() == [0.0]
    assert accumulator.samples().mean.tolist() == [[1.0, 0.0, 0.0]]


def test_undefined_predictions_stay_undefined() -> None:
    accumulator = Accumulator(2, 2, CPU)
    accumulator.add(torch.tensor([[[torch.nan, torch.nan], [-0.5, -1.0]]]))
    assert np.isnan(accumulator.samples().entropy).tolist() == [True, False]


def test_the_samples_do_not_change_with_what_is_added_later() -> None:
    accumulator = Accumulator(2, 3, CPU)
    accumulator.add(log_probabilities(2, 2, 3))
    before = accumulator.samples()
    mean, votes = before.mean.copy(), before.votes.copy()
    accumulator.add(log_probabilities(2, 2, 3, seed=1))
    assert np.array_equal(before.mean, mean)
    assert np.array_equal(before.votes, votes)


@given(stn.arrays(np.float64, (6, 2), elements=st.floats(-1e3, 1e3)), st.floats(0, 1e6), st.integers(1, 5))
def test_the_spread_of_numbers_does_not_suffer_from_their_size(means, offset, cut) -> None:
    taken = NumbersTaken(2, CPU)
    for block in np.split(means + offset, [cut]):
        taken.add(torch.from_numpy(np.stack([block, np.zeros_like(block)], axis=-1)))
    np.testing.assert_allclose(predictive_std(taken.samples()), (means + offset).std(axis=0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("blocks", [[12], [5, 7], [1] * 12])
def test_statistics_of_numbers_are_those_of_all_predictions_however_they_are_cut(blocks) -> None:
    predictions = torch.randn(12, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    taken = NumbersTaken(5, CPU)
    for block in predictions.split(blocks):
        taken.add(block[:, 2:], 2)
        taken.add(block[:, :2])
    numbers, each = taken.samples(), predictions.numpy()
    np.testing.assert_allclose(numbers.mean, each[..., 0].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(numbers.std, each[..., 0].std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(numbers.noise, np.exp(each[..., 1]).mean(axis=0), rtol=1e-12)
    expected = np.log(np.exp(each[..., 1]).mean(axis=0) + each[..., 0].var(axis=0))
    np.testing.assert_allclose(numbers.mixed(), np.stack([each[..., 0].mean(axis=0), expected], axis=1), rtol=1e-12)


@given(stn.arrays(np.float64, (6, 2, 2), elements=st.floats(-1e3, 1e3)), st.floats(0, 1e6), st.integers(1, 5))
def test_moments_of_several_values_do_not_suffer_from_their_size(values, offset, cut) -> None:
    moments = Moments(2, (2,), CPU)
    for block in np.split(values + offset, [cut]):
        moments.add(torch.from_numpy(block))
    np.testing.assert_allclose(moments.std(), (values + offset).std(axis=0), rtol=1e-9, atol=1e-9)
