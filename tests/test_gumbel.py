import tracemalloc
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import gumbel
from tasks.gumbel import top_k

RNG_SEED = 20261120


def uniform_keys(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def test_extreme_keys_give_finite_noise() -> None:
    keys = np.array([0, 2**11 - 1, 2**63, 2**64 - 2**11, 2**64 - 1], dtype=np.uint64)
    noise = gumbel._perturbed(np.zeros(5), keys)
    assert np.isfinite(noise).all()
    # -ln(54 ln 2), and -ln(2^-53) with half of the last part lost to rounding.
    assert noise[0] == pytest.approx(-np.log(54 * np.log(2)))
    assert noise[-1] == pytest.approx(53 * np.log(2))


def test_noise_is_standard_gumbel() -> None:
    noise = np.sort(gumbel._perturbed(np.zeros(100_000), uniform_keys(100_000)))
    expected = np.exp(-np.exp(-noise))
    # Kolmogorov-Smirnov: the 0.1 % point is 1.95 / sqrt(n).
    assert np.abs(expected - np.arange(1, 100_001) / 100_000).max() < 1.95 / np.sqrt(100_000)


log_weights = st.lists(st.floats(-50, 50) | st.sampled_from([-np.inf, np.inf, 0.0, 1e300, -1e300]), max_size=60)


@given(log_weights, st.integers(0, 70), st.integers(0, 2**32), st.integers(1, 70))
def test_slices_change_nothing(weights: list[float], size: int, seed: int, length: int) -> None:
    values, keys = np.array(weights, dtype=np.float64), uniform_keys(len(weights), seed)
    sums = gumbel._perturbed(values, keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gumbel, "_SLICE", length)
        got = top_k(values, keys, size)
    assert got.tolist() == np.lexsort((keys, -sums))[:size].tolist()


def test_equal_infinite_weights_leave_the_order_to_the_keys() -> None:
    weights = np.array([-np.inf, 0.0, np.inf, -np.inf, np.inf, -np.inf])
    keys = np.array([30, 5, 9, 10, 8, 20], dtype=np.uint64)
    assert top_k(weights, keys, 6).tolist() == [4, 2, 1, 3, 5, 0]
    assert top_k(weights, keys, 2).tolist() == [4, 2]


@pytest.mark.parametrize("weights", [np.zeros(100_000), np.full(100_000, np.inf), np.full(100_000, -np.inf)])
def test_sizes_are_exact_when_all_weights_are_equal(weights: np.ndarray) -> None:
    assert len(np.unique(top_k(weights, uniform_keys(100_000), 1000))) == 1000


def test_weights_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        top_k(np.array([0.0, np.nan]), uniform_keys(2), 1)


def test_ordered_draws_have_the_probabilities_of_plackett_and_luce() -> None:
    weights = np.array([1.0, 2.0, 3.0, 0.5])
    pairs = list(permutations(range(4), 2))
    exact = np.array([weights[i] / 6.5 * weights[j] / (6.5 - weights[i]) for i, j in pairs])
    rng = np.random.default_rng(RNG_SEED)
    draws = 8000
    counts = np.zeros((4, 4))
    for keys in rng.integers(0, 2**64, (draws, 4), dtype=np.uint64):
        first, second = top_k(np.log(weights), keys, 2)
        counts[first, second] += 1
    got = np.array([counts[pair] for pair in pairs])
    # Chi-square with 11 degrees of freedom: 31.3 is the 0.1 % point.
    assert ((got - draws * exact) ** 2 / (draws * exact)).sum() < 31.3


def test_a_large_pool_takes_room_for_the_chosen_only() -> None:
    weights, keys = np.linspace(0, 5, 10**6), uniform_keys(10**6)
    tracemalloc.start()
    try:
        top_k(weights, keys, 10_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < weights.nbytes / 4
