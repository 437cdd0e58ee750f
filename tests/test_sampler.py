"""What candidates and the stochastic strategies have in common: draws in proportion to weights."""

from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.infer.scopes import candidates, top
from tests.scope_helpers import chi_square, everything, kept_ids, known, shuffled, subset_counts, subset_probabilities

SEED = np.random.SeedSequence(3)
SCORES = [0.1, 2.2, 0.9, 1.4, 0.4, 1.8]

#: Chi-square, 0.1 % points by degrees of freedom.
CRITICAL = {5: 20.5, 9: 27.9, 14: 36.1, 19: 43.8}


def settings(**changes: Any) -> dict[str, Any]:
    """infer.candidates: the published sampler, and ``changes``."""
    published = {"temperature": 1.0, "power": 1.2, "scale": "raw", "explore": 0.0, "stale_bonus": 0.0}
    return {"size": None, "ratio": None} | published | changes


def frequencies(scores: list[float], size: int, draws: int, **changes: Any) -> Any:
    pool = known(scores)

    def draw(seed: np.random.SeedSequence) -> list[int]:
        narrowed = candidates.narrow(pool, everything(pool), settings(size=size, **changes), seed)
        return np.concatenate(list(narrowed.kept.values())).tolist()

    return subset_counts(draw, len(scores), size, draws)


def test_one_candidate_is_drawn_with_softmax_probabilities() -> None:
    weights = np.exp(np.array(SCORES) / 0.7)
    counts = frequencies(SCORES, 1, 3000, power=1.0, temperature=0.7)
    assert chi_square(counts, weights / weights.sum()) < CRITICAL[5]


def test_several_candidates_have_the_inclusion_probabilities_of_plackett_and_luce() -> None:
    weights = np.exp(np.array(SCORES) / 0.7).tolist()
    counts = frequencies(SCORES, 2, 3000, power=1.0, temperature=0.7)
    assert chi_square(counts, subset_probabilities(weights, 2)) < CRITICAL[14]


def test_rank_scale_weighs_by_rank_whatever_the_values() -> None:
    weights = np.exp((np.arange(5) + 0.5) / 5 / 0.3).tolist()
    counts = frequencies([-7.0, 0.0, 1e-9, 5.0, 1e9], 2, 3000, power=1.0, temperature=0.3, scale="rank")
    assert chi_square(counts, subset_probabilities(weights, 2)) < CRITICAL[9]


def test_standard_scale_keeps_the_sign_under_a_power() -> None:
    scores = np.array([1.0, 2.0, 4.0, 5.0, 9.0])
    scaled = (scores - scores.mean()) / scores.std()
    weights = np.exp(np.sign(scaled) * np.abs(scaled) ** 1.5).tolist()
    counts = frequencies(scores.tolist(), 2, 3000, power=1.5, scale="standard")
    assert chi_square(counts, subset_probabilities(weights, 2)) < CRITICAL[9]


def test_the_published_sampler_is_one_of_the_settings() -> None:
    powers = np.exp(np.array(SCORES) ** 1.2)
    probabilities = powers / powers.sum()
    rng = np.random.default_rng(0)
    theirs = subset_counts(lambda _: rng.choice(6, 3, replace=False, p=probabilities), 6, 3, 3000)
    ours = frequencies(SCORES, 3, 3000)
    assert chi_square(ours, subset_probabilities(powers.tolist(), 3)) < CRITICAL[19]
    # Equal numbers of draws: the statistic of two samples.
    assert ((ours - theirs) ** 2 / (ours + theirs)).sum() < CRITICAL[19]


@pytest.mark.parametrize("scale", ["raw", "standard", "rank"])
def test_infinite_temperature_is_uniform(scale: str) -> None:
    counts = frequencies(SCORES, 2, 2000, temperature=1e300, scale=scale)
    assert chi_square(counts, np.full(15, 1 / 15)) < CRITICAL[14]


few = st.lists(st.integers(-1000, 1000).map(float) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=40)


@given(few, st.integers(1, 45), st.sampled_from(["raw", "standard", "rank"]))
def test_zero_temperature_is_top_k(scores: list[float], size: int, scale: str) -> None:
    pool = known(scores)
    wanted = settings(size=size, temperature=1e-300, scale=scale)
    kept = candidates.narrow(pool, everything(pool), wanted, SEED).kept["candidates"]
    assert sorted(pool.score[kept], reverse=True) == sorted(scores, reverse=True)[:size]


def test_ties_at_zero_temperature_are_drawn_uniformly() -> None:
    counts = frequencies([1.0] * 5, 2, 2000, temperature=1e-300)
    assert chi_square(counts, np.full(10, 0.1)) < CRITICAL[9]


any_scores = st.lists(
    st.floats(allow_nan=False, allow_infinity=False) | st.just(np.nan) | st.sampled_from([0.0, 1.0]), max_size=40
)
any_settings = st.fixed_dictionaries(
    {
        "ratio": st.floats(0, 1, exclude_min=True),
        "temperature": st.sampled_from([5e-324, 1e-300, 0.02, 1.0, 1e300]),
        "power": st.sampled_from([1e-300, 0.5, 1.0, 1.2, 1e300]),
        "scale": st.sampled_from(["raw", "standard", "rank"]),
        "explore": st.floats(0, 1),
        "stale_bonus": st.sampled_from([0.0, 0.1, 10.0]),
    }
)


@given(any_scores, any_settings, st.data())
def test_any_settings_give_distinct_items_of_the_asked_number_and_share(
    scores: list[float], changes: dict[str, Any], data: st.DataObject
) -> None:
    pool = known(scores)
    among = np.array(sorted(data.draw(st.sets(st.integers(0, len(scores) - 1)) if scores else st.just(set()))), int)
    kept = candidates.narrow(pool, among, settings(**changes), SEED).kept
    together = np.concatenate(list(kept.values()))
    size = ceil(Fraction(str(changes["ratio"])) * len(among))
    assert len(together) == size
    assert len(kept["explore"]) == round(changes["explore"] * size)
    assert len(np.unique(together)) == size
    assert np.isin(together, among).all()
    assert all((np.diff(positions) > 0).all() for positions in kept.values())


@given(few, any_settings, st.randoms(use_true_random=False))
@pytest.mark.parametrize("scope", [candidates, top])
def test_the_order_of_rows_does_not_matter(
    scope: Any, scores: list[float], changes: dict[str, Any], shuffle: Any
) -> None:
    pool = known(scores)
    rows = list(range(len(scores)))
    shuffle.shuffle(rows)
    mixed = shuffled(pool, rows)
    wanted = settings(**changes)
    first = kept_ids(pool, scope.narrow(pool, everything(pool), wanted, SEED))
    assert first == kept_ids(mixed, scope.narrow(mixed, everything(mixed), wanted, SEED))
