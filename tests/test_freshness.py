"""Fresh values go before old ones in SELECT."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.select import top_k, uniform
from tasks.select.choice import Candidates, Chosen
from tasks.select.freshness import Strategy, freshest_first
from tasks.select.stochastic import softmax, softrank

STRATEGIES = pytest.mark.parametrize(
    ("strategy", "origin"), [(top_k.select, "top-k"), (softmax, "softmax"), (softrank, "softrank")]
)


def choose(
    scores: list[float], age: list[int], max_age: int | None, size: int, strategy: Strategy = top_k.select
) -> Chosen:
    candidates = Candidates(
        pa.array([f"x{i}" for i in range(len(scores))]), np.array(scores), np.random.SeedSequence(1)
    )
    return freshest_first(strategy, candidates, np.array(age), max_age, size)


def test_old_values_do_not_beat_fresh_ones() -> None:
    chosen = choose([0.9, 0.2, 0.3, 0.8], [3, 0, 0, 1], 0, 2)
    assert chosen.positions.tolist() == [2, 1]
    assert chosen.origins == ["top-k", "top-k"]


def test_old_values_fill_up_best_first_and_unscored_items_last() -> None:
    chosen = choose([0.9, 0.2, np.nan, 0.8], [3, 0, 0, 1], 0, 4)
    assert chosen.positions.tolist() == [1, 0, 3, 2]
    assert chosen.origins == ["top-k", "top-k of older values", "top-k of older values", "unscored"]


def test_without_a_bound_all_values_count_alike() -> None:
    assert choose([0.9, 0.2, 0.3, 0.8], [3, 0, 0, 1], None, 2).positions.tolist() == [0, 3]


def test_values_within_the_bound_count_alike() -> None:
    assert choose([0.9, 0.2, 0.3, 0.8], [3, 0, 0, 1], 1, 2).positions.tolist() == [3, 2]


def test_where_nothing_is_scored_the_strategy_sees_all_items_at_once() -> None:
    candidates = Candidates(pa.array(list("abcdef")), np.full(6, np.nan), np.random.SeedSequence(1))
    chosen = freshest_first(uniform.select, candidates, np.zeros(6, dtype=np.int64), 0, 4)
    assert chosen.positions.tolist() == uniform.select(candidates, 4).positions.tolist()


@STRATEGIES
def test_fresh_values_go_first_whatever_the_strategy(strategy: Strategy, origin: str) -> None:
    chosen = choose([0.9, 0.2, 0.3, 0.8, 0.1], [3, 0, 0, 1, 0], 0, 4, strategy)
    assert set(chosen.positions[:3].tolist()) == {1, 2, 4}
    assert chosen.positions[3] in (0, 3)
    assert chosen.origins == [origin] * 3 + [f"{origin} of older values"]


@STRATEGIES
def test_more_than_there_are_is_all_of_them_once(strategy: Strategy, origin: str) -> None:
    chosen = choose([0.9, 0.2, np.nan, 0.8], [3, 0, 0, 1], 0, 10, strategy)
    assert chosen.positions[0] == 1
    assert set(chosen.positions[1:3].tolist()) == {0, 3}
    assert chosen.positions[3:].tolist() == [2]
    assert chosen.origins == [origin, *[f"{origin} of older values"] * 2, "unscored"]


@STRATEGIES
def test_an_item_without_a_value_is_never_fresh(strategy: Strategy, origin: str) -> None:
    chosen = choose([np.nan, 0.2, np.nan, 0.3], [0, 5, 0, 5], 0, 3, strategy)
    assert set(chosen.positions[:2].tolist()) == {1, 3}
    assert chosen.positions[2] in (0, 2)
    assert chosen.origins == [f"{origin} of older values"] * 2 + ["unscored"]


@STRATEGIES
def test_without_a_bound_items_without_a_value_come_last(strategy: Strategy, origin: str) -> None:
    chosen = choose([np.nan, 0.2, 0.9], [0, 5, 0], None, 3, strategy)
    assert chosen.positions[2] == 0
    assert chosen.origins == [origin, origin, "unscored"]
