from typing import Any

import numpy as np
import pytest

from tasks.infer.scopes import candidates, top
from tasks.infer.scopes.scope import Known
from tests.scope_helpers import chi_square, everything, known, subset_counts

SEED = np.random.SeedSequence(3)
COLD = 1e-300


def settings(**changes: Any) -> dict[str, Any]:
    """infer.candidates with its defaults, and ``changes``."""
    defaults = {"temperature": 0.02, "power": 1.0, "scale": "rank", "explore": 0.1, "stale_bonus": 0.0}
    return {"size": None, "ratio": None} | defaults | changes


def kept(pool: Known, seed: np.random.SeedSequence = SEED, **changes: Any) -> dict[str, list[int]]:
    narrowed = candidates.narrow(pool, everything(pool), settings(**changes), seed)
    return {reason: positions.tolist() for reason, positions in narrowed.kept.items()}


@pytest.mark.parametrize(
    ("wanted", "size"),
    [({"ratio": 0.07}, 7), ({"ratio": 0.071}, 8), ({"ratio": 1e-9}, 1), ({"ratio": 1.0}, 100), ({"size": 500}, 100)],
)
def test_ratio_is_rounded_up_and_no_size_exceeds_the_pool(wanted: dict[str, Any], size: int) -> None:
    assert sum(map(len, kept(known(np.linspace(0, 1, 100).tolist()), **wanted).values())) == size


def test_only_items_of_what_the_scope_before_left_are_drawn() -> None:
    pool = known(np.linspace(0, 1, 50).tolist())
    among = np.arange(0, 50, 2)
    narrowed = candidates.narrow(pool, among, settings(ratio=0.4), SEED)
    assert np.isin(np.concatenate(list(narrowed.kept.values())), among).all()
    assert sum(map(len, narrowed.kept.values())) == 10


def test_ranks_are_taken_among_what_the_scope_before_left() -> None:
    among = np.arange(5)
    settings_ = settings(size=2, temperature=0.3)
    drawn = [
        candidates.narrow(known([0.1, 0.2, 0.3, 0.4, 0.5, *rest]), among, settings_, SEED).kept["candidates"].tolist()
        for rest in ([], [7.0] * 50, [-7.0] * 50)
    ]
    assert drawn[0] == drawn[1] == drawn[2]


@pytest.mark.parametrize("scale", ["rank", "standard", "raw"])
def test_items_never_scored_count_as_the_highest_value(scale: str) -> None:
    pool = known([0.5, np.nan, 0.9, 0.2, np.nan])
    assert kept(pool, size=3, scale=scale, temperature=COLD, explore=0.0)["candidates"] == [1, 2, 4]


def test_items_never_scored_come_before_all_others_on_the_scale_of_ranks() -> None:
    pool = known([0.5, np.nan, 0.9, 0.2, np.nan])
    assert kept(pool, size=2, temperature=COLD, explore=0.0)["candidates"] == [1, 4]


@pytest.mark.parametrize("bonus", [1e6, 0.3, -0.3, -1e6])
@pytest.mark.parametrize("scale", ["rank", "standard", "raw"])
def test_items_never_scored_stay_the_highest_whatever_the_bonus(scale: str, bonus: float) -> None:
    pool = known([0.5, np.nan, 0.9, 0.2], scored_round=[0, -1, 4, 3])
    wanted = {"size": 1, "scale": scale, "temperature": COLD, "explore": 0.0}
    assert kept(pool, **wanted, stale_bonus=bonus)["candidates"] == [1]


@pytest.mark.parametrize("scale", ["rank", "standard", "raw"])
def test_a_pool_without_any_score_is_drawn_uniformly(scale: str) -> None:
    pool = known([np.nan] * 5)

    def draw(seed: np.random.SeedSequence) -> list[int]:
        return kept(pool, seed, size=2, scale=scale, explore=0.0)["candidates"]

    # Chi-square with 9 degrees of freedom: 27.9 is the 0.1 % point.
    assert chi_square(subset_counts(draw, 5, 2, 1500), np.full(10, 0.1)) < 27.9


@pytest.mark.parametrize("scale", ["rank", "standard", "raw"])
def test_stale_items_are_favoured_as_the_bonus_grows(scale: str) -> None:
    scores = np.random.default_rng(0).random(200)
    stale = np.arange(200) % 2 == 0
    pool = known(scores.tolist(), scored_round=np.where(stale, 2, 4).tolist())
    shares = [
        int(
            stale[kept(pool, size=60, scale=scale, temperature=0.2, explore=0.0, stale_bonus=bonus)["candidates"]].sum()
        )
        for bonus in (0.0, 0.1, 0.3, 1.0, 10.0)
    ]
    assert shares == sorted(shares)
    assert 15 < shares[0] < 45
    assert shares[-1] == 60


def test_explorers_are_drawn_uniformly_from_the_others() -> None:
    pool = known([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])

    def draw(seed: np.random.SeedSequence) -> list[int]:
        drawn = kept(pool, seed, size=3, temperature=COLD, explore=0.67)
        assert drawn["candidates"] == [0]
        return [position - 1 for position in drawn["explore"]]

    assert chi_square(subset_counts(draw, 5, 2, 1500), np.full(10, 0.1)) < 27.9


@pytest.mark.parametrize(("explore", "explorers"), [(0.0, 0), (0.1, 2), (0.5, 10), (0.99, 20), (1.0, 20)])
def test_the_share_of_explorers_is_exact(explore: float, explorers: int) -> None:
    pool = known(np.linspace(0, 1, 100).tolist())
    drawn = kept(pool, size=20, explore=explore)
    assert (len(drawn["candidates"]), len(drawn["explore"])) == (20 - explorers, explorers)


def test_draws_depend_on_the_seed_and_on_nothing_that_was_drawn_before() -> None:
    pool = known(np.linspace(0, 1, 100).tolist())
    seed = np.random.SeedSequence(9)
    first = kept(pool, seed, size=20, temperature=1.0)
    seed.spawn(3)
    assert kept(pool, seed, size=20, temperature=1.0) == first
    assert kept(pool, np.random.SeedSequence(10), size=20, temperature=1.0) != first


def test_cached_values_are_left_as_they_are() -> None:
    pool = known([0.5, np.nan, -0.9, 0.2])
    before = pool.score.copy()
    kept(pool, size=2, power=1.2, scale="raw", stale_bonus=1.0)
    top.narrow(pool, everything(pool), {"size": 2, "ratio": None, "explore": 0.5}, SEED)
    np.testing.assert_array_equal(pool.score, before)


def test_top_keeps_the_highest_values_and_never_scored_items_before_them() -> None:
    pool = known([0.5, np.nan, 0.9, 0.2, -3.0])
    narrowed = top.narrow(pool, everything(pool), {"size": None, "ratio": 0.6, "explore": 0.0}, SEED)
    assert narrowed.kept["top"].tolist() == [0, 1, 2]
    assert narrowed.kept["explore"].tolist() == []


def test_top_explores_an_exact_share_of_the_others() -> None:
    pool = known(np.linspace(0, 1, 100).tolist())
    narrowed = top.narrow(pool, everything(pool), {"size": 20, "ratio": None, "explore": 0.25}, SEED)
    assert narrowed.kept["top"].tolist() == list(range(85, 100))
    assert len(narrowed.kept["explore"]) == 5
    assert narrowed.kept["explore"].max() < 85


def test_ties_at_the_edge_of_the_top_are_broken_at_random() -> None:
    pool = known([1.0] * 5)

    def draw(seed: np.random.SeedSequence) -> list[int]:
        return top.narrow(pool, everything(pool), {"size": 2, "ratio": None, "explore": 0.0}, seed).kept["top"].tolist()

    assert chi_square(subset_counts(draw, 5, 2, 1500), np.full(10, 0.1)) < 27.9
