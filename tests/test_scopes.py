"""Scopes of INFER that need no sampler, and how scopes are put together."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import ConfigError
from tasks.infer.narrowing import narrow
from tasks.infer.scopes import clusters, every, prune
from tasks.infer.scopes.scope import Known, Narrowed

SEED = np.random.SeedSequence(3, spawn_key=(4, 4))


def pool(scores: list[float], round_: int = 1, **columns: Any) -> Known:
    """Items x0, x1, … scored in round 0 unless the score is NaN."""
    score = np.array(scores, dtype=np.float64)
    scored = ~np.isnan(score)
    fields: dict[str, Any] = {
        "scored_round": np.where(scored, 0, -1).astype(np.int32),
        "times_scored": scored.astype(np.int32),
        "cluster": np.full(len(score), -1, dtype=np.int32),
        "distance": np.full(len(score), np.nan, dtype=np.float32),
        "dropped": np.zeros(len(score), dtype=np.bool_),
    }
    return Known(pa.array([f"x{i}" for i in range(len(score))]), score, round=round_, **(fields | columns))


def everything(known: Known) -> np.ndarray:
    return np.arange(len(known.ids), dtype=np.int64)


def kept(narrowed: Narrowed) -> list[int]:
    return sorted(np.concatenate(list(narrowed.kept.values())).tolist())


def reordered(known: Known, order: np.ndarray) -> Known:
    """The same items in other rows."""
    columns = ("score", "scored_round", "times_scored", "cluster", "distance", "dropped")
    return Known(
        known.ids.take(pa.array(order)), **{name: getattr(known, name)[order] for name in columns}, round=known.round
    )


@given(st.integers(2, 6), st.integers(0, 50), st.integers(1, 80))
def test_every_item_has_its_turn_once_in_m_rounds(period: int, first: int, count: int) -> None:
    pools = [pool([0.5] * count, round_) for round_ in range(first, first + period)]
    turns = [kept(every.narrow(known, everything(known), {"rounds": period}, SEED)) for known in pools]
    assert sorted(number for turn in turns for number in turn) == list(range(count))


def test_every_keeps_items_that_were_never_scored() -> None:
    known = pool([np.nan] * 40)
    assert kept(every.narrow(known, everything(known), {"rounds": 4}, SEED)) == list(range(40))


def test_clusters_keep_a_share_of_each_nearest_first() -> None:
    known = pool(
        [0.5] * 30,
        cluster=np.repeat(np.arange(3, dtype=np.int32), 10),
        distance=np.tile(np.arange(10, dtype=np.float32), 3),
    )
    narrowed = clusters.narrow(known, everything(known), {"ratio": 0.4, "nearest": 0.5}, SEED)
    assert narrowed.kept["cluster nearest"].tolist() == [0, 1, 10, 11, 20, 21]
    drawn = narrowed.kept["cluster random"]
    assert np.bincount(drawn // 10).tolist() == [2, 2, 2]
    assert not set(drawn.tolist()) & {0, 1, 10, 11, 20, 21}


def test_items_without_a_cluster_form_one() -> None:
    known = pool([0.5] * 10)
    assert len(kept(clusters.narrow(known, everything(known), {"ratio": 0.3, "nearest": 0.5}, SEED))) == 3


PRUNE = {"share": 0.25, "times": 1, "rounds": 2}


def test_prune_suspends_the_lowest_values() -> None:
    known = pool([0.4, 0.1, 0.9, 0.2, 0.8, 0.7, 0.6, 0.5])
    narrowed = prune.narrow(known, everything(known), PRUNE, SEED)
    assert kept(narrowed) == [0, 2, 4, 5, 6, 7]
    assert narrowed.left_out == "suspended"


def test_a_suspended_item_is_scored_again_when_its_time_is_over() -> None:
    early, late = pool(values := [0.4, 0.1, 0.9, 0.2], 2), pool(values, 3)
    assert kept(prune.narrow(early, everything(early), PRUNE, SEED)) == [0, 2, 3]
    assert kept(prune.narrow(late, everything(late), PRUNE, SEED)) == [0, 1, 2, 3]


def test_a_dropped_item_stays_out() -> None:
    known = pool([0.4, 0.1, 0.9, 0.2], 99)
    narrowed = prune.narrow(known, everything(known), PRUNE | {"rounds": None}, SEED)
    assert (kept(narrowed), narrowed.left_out) == ([0, 2, 3], "dropped")


@pytest.mark.parametrize(("ratio", "count", "kept_of_them"), [(0.07, 100, 7), (0.29, 100, 29), (0.001, 100, 1)])
def test_shares_are_taken_as_they_are_written(ratio: float, count: int, kept_of_them: int) -> None:
    known = pool([i / count for i in range(count)])
    assert len(kept(clusters.narrow(known, everything(known), {"ratio": ratio, "nearest": 0.5}, SEED))) == kept_of_them
    pruned = prune.narrow(known, everything(known), PRUNE | {"share": ratio}, SEED)
    assert len(kept(pruned)) == count - int(round(ratio * count, 6))


def test_prune_spares_items_that_were_scored_too_seldom_or_never() -> None:
    known = pool([0.4, 0.1, np.nan, 0.2])
    assert kept(prune.narrow(known, everything(known), PRUNE | {"times": 2, "share": 0.9}, SEED)) == [0, 1, 2, 3]


@pytest.mark.parametrize("how", ["every", "clusters", "prune"])
@given(data=st.data())
def test_the_order_of_rows_changes_nothing(how: str, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    cells = st.lists(st.integers(0, 3), min_size=count, max_size=count)
    known = pool(
        [float(v) for v in data.draw(cells)],
        cluster=np.array(data.draw(cells), dtype=np.int32),
        distance=np.array(data.draw(cells), dtype=np.float32),
    )
    order = np.array(data.draw(st.permutations(range(count))), dtype=np.int64)
    scope, settings = {
        "every": (every, {"rounds": 3}),
        "clusters": (clusters, {"ratio": 0.4, "nearest": 0.5}),
        "prune": (prune, PRUNE),
    }[how]
    shuffled = reordered(known, order)
    one = scope.narrow(known, everything(known), settings, SEED)
    other = scope.narrow(shuffled, everything(shuffled), settings, SEED)
    assert kept(one) == sorted(order[kept(other)].tolist())


def test_scopes_narrow_one_after_the_other_and_say_why() -> None:
    known = pool([i / 40 for i in range(40)])
    scopes = [{"name": "prune", **PRUNE}, {"name": "top", "size": 5, "ratio": None, "explore": 0.0}]
    chosen, reasons, why = narrow(known, scopes, SEED)
    assert chosen.tolist() == [35, 36, 37, 38, 39]
    said = [reasons[code] for code in why]
    assert said == ["suspended"] * 10 + ["not a candidate"] * 25 + ["top"] * 5


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(ConfigError, match="'best'"):
        narrow(pool([0.1]), [{"name": "best"}], SEED)
