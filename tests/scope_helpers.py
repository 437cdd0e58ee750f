"""What the scopes of INFER are given, without files, and what is likely to come back."""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.infer.scopes.scope import Known, Narrowed, Positions


def known(
    scores: Sequence[float], scored_round: int | Sequence[int] | None = None, round_: int = 5, **columns: Any
) -> Known:
    """Items i0, i1, … with these cached values, computed in the round before unless said otherwise.

    Args:
        columns: other fields of Known.
    """
    score = np.array(scores, dtype=np.float64)
    count, scored = len(score), ~np.isnan(score)
    fields: dict[str, Any] = {
        "scored_round": np.where(scored, round_ - 1 if scored_round is None else scored_round, -1).astype(np.int32),
        "times_scored": scored.astype(np.int32),
        "cluster": np.full(count, -1, dtype=np.int32),
        "distance": np.full(count, np.nan, dtype=np.float32),
        "dropped": np.zeros(count, dtype=np.bool_),
    }
    ids = pa.array([f"i{number}" for number in range(count)], pa.string())
    return Known(ids, score, round=round_, **(fields | columns))


def everything(pool: Known) -> Positions:
    """Positions of all items."""
    return np.arange(len(pool.ids), dtype=np.int64)


def shuffled(pool: Known, rows: Sequence[int]) -> Known:
    """The same items in another order."""
    taken = np.array(rows, dtype=np.int64)
    columns = (pool.score, pool.scored_round, pool.times_scored, pool.cluster, pool.distance, pool.dropped)
    return Known(pool.ids.take(pa.array(taken)), *(column[taken] for column in columns), pool.round)  # type: ignore[arg-type]


def kept_ids(pool: Known, narrowed: Narrowed) -> dict[str, set[str]]:
    """By reason, the ids that a scope kept."""
    return {reason: set(pool.ids.take(pa.array(rows)).to_pylist()) for reason, rows in narrowed.kept.items()}


def subset_counts(draw: Callable[[np.random.SeedSequence], Iterable[int]], count: int, size: int, draws: int) -> Any:
    """How often each subset of ``size`` of ``count`` items is drawn, in the order of ``itertools.combinations``."""
    number = {subset: index for index, subset in enumerate(combinations(range(count), size))}
    counts = np.zeros(len(number))
    for entropy in range(draws):
        counts[number[tuple(sorted(draw(np.random.SeedSequence(entropy))))]] += 1
    return counts


def subset_probabilities(weights: Sequence[float], size: int) -> Any:
    """Exact probabilities of the same subsets, by enumeration of all orders in which Plackett and Luce draw them."""
    probabilities = []
    for subset in combinations(range(len(weights)), size):
        total = 0.0
        for order in permutations(subset):
            probability, left = 1.0, float(sum(weights))
            for item in order:
                probability *= weights[item] / left
                left -= weights[item]
            total += probability
        probabilities.append(total)
    return np.array(probabilities)


def chi_square(counts: Any, probabilities: Any) -> float:
    """Pearson's statistic of counts against the probabilities that they should have."""
    expected = counts.sum() * np.asarray(probabilities)
    return float(((counts - expected) ** 2 / expected).sum())
