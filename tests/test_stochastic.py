from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.select import stochastic
from tasks.select.choice import Candidates
from tests.scope_helpers import chi_square, subset_counts, subset_probabilities

SEED = np.random.SeedSequence(7)
SCORES = [0.2, 1.5, 0.9, 0.9, 0.05]
STRATEGIES = [stochastic.power, stochastic.softmax, stochastic.softrank]


def candidates(scores: list[float], beta: float = 1.0, seed: np.random.SeedSequence = SEED) -> Candidates:
    ids = pa.array([f"i{number}" for number in range(len(scores))], pa.string())
    return Candidates(ids, np.array(scores, dtype=np.float64), seed, beta)


WEIGHTS = {
    stochastic.power: lambda beta: np.array(SCORES) ** beta,
    stochastic.softmax: lambda beta: np.exp(beta * np.array(SCORES)),
    stochastic.softrank: lambda beta: np.array([4.0, 1.0, 2.5, 2.5, 5.0]) ** -beta,
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_batches_have_the_probabilities_of_their_formula(strategy: Any, beta: float) -> None:
    def draw(seed: np.random.SeedSequence) -> list[int]:
        return strategy(candidates(SCORES, beta, seed), 2).positions.tolist()

    exact = subset_probabilities(WEIGHTS[strategy](beta).tolist(), 2)
    # Chi-square with 9 degrees of freedom: 27.9 is the 0.1 % point.
    assert chi_square(subset_counts(draw, 5, 2, 2000), exact) < 27.9


scores = st.lists(
    st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([np.nan, 0.0, 1.0]), min_size=1, max_size=40
)


@given(scores, st.sampled_from([1e-300, 1.0, 1e308]), st.data())
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_batches_are_distinct_and_scored_items_come_first(
    strategy: Any, values: list[float], beta: float, data: st.DataObject
) -> None:
    size = data.draw(st.integers(0, len(values)))
    chosen = strategy(candidates(values, beta), size)
    scored = int(np.sum(~np.isnan(values)))
    assert len(np.unique(chosen.positions)) == size
    assert chosen.origins == ([strategy.__name__] * scored + ["unscored"] * len(values))[:size]
    assert not np.isnan(np.array(values)[chosen.positions[:scored]]).any()


@given(scores, st.randoms(use_true_random=False), st.data())
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_order_of_rows_does_not_matter(
    strategy: Any, values: list[float], shuffle: Any, data: st.DataObject
) -> None:
    size = data.draw(st.integers(0, len(values)))
    rows = list(range(len(values)))
    shuffle.shuffle(rows)
    plain = candidates(values)
    mixed = replace(plain, ids=plain.ids.take(pa.array(rows, pa.int64())), scores=plain.scores[rows])
    first, second = (part.ids.take(strategy(part, size).positions).to_pylist() for part in (plain, mixed))
    assert first == second


@given(st.lists(st.integers(1, 50).map(float), min_size=1, max_size=40), st.data())
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_infinitely_cold_batches_are_the_highest_scores(
    strategy: Any, values: list[float], data: st.DataObject
) -> None:
    size = data.draw(st.integers(0, len(values)))
    cold = candidates(values, 1e308)
    assert cold.scores[strategy(cold, size).positions].tolist() == sorted(values, reverse=True)[:size]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_infinitely_warm_batches_are_uniform(strategy: Any) -> None:
    def draw(seed: np.random.SeedSequence) -> list[int]:
        return strategy(candidates(SCORES, 1e-300, seed), 2).positions.tolist()

    assert chi_square(subset_counts(draw, 5, 2, 1500), np.full(10, 0.1)) < 27.9


def test_scores_of_zero_and_below_have_no_power_and_come_last_at_random() -> None:
    lasts = set()
    for entropy in range(50):
        chosen = stochastic.power(candidates([0.0, 3.0, -2.0, 1e-300], 1.0, np.random.SeedSequence(entropy)), 4)
        assert set(chosen.positions[:2].tolist()) == {1, 3}
        lasts.add(int(chosen.positions[3]))
    assert lasts == {0, 2}


def test_unscored_items_fill_up_at_random() -> None:
    lasts = {
        tuple(
            stochastic.softmax(candidates([np.nan, 1.0, np.nan], 1.0, np.random.SeedSequence(s)), 2).positions.tolist()
        )
        for s in range(30)
    }
    assert lasts == {(1, 0), (1, 2)}
