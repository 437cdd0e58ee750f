"""Fresh values go before old ones in SELECT."""

import numpy as np
import pyarrow as pa

from tasks.select import top_k, uniform
from tasks.select.choice import Candidates, Chosen
from tasks.select.freshness import freshest_first


def choose(scores: list[float], age: list[int], max_age: int | None, size: int) -> Chosen:
    candidates = Candidates(
        pa.array([f"x{i}" for i in range(len(scores))]), np.array(scores), np.random.SeedSequence(1)
    )
    return freshest_first(top_k.select, candidates, np.array(age), max_age, size)


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
