"""Scopes of INFER that need no sampler, and how scopes are put together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import ConfigError
from tasks.infer.narrowing import narrow
from tasks.infer.scopes import clusters, every, prune
from tasks.infer.scopes.scope import Narrowed
from tests.scope_helpers import everything, kept_ids, known, shuffled

SEED = np.random.SeedSequence(3, spawn_key=(4, 4))


def kept(narrowed: Narrowed) -> list[int]:
    return sorted(np.concatenate(list(narrowed.kept.values())).tolist())


@given(st.integers(2, 6), st.integers(0, 50), st.integers(1, 80))
def test_every_item_has_its_turn_once_in_m_rounds(period: int, first: int, count: int) -> None:
    pools = [known([0.5] * count, 0, round_) for round_ in range(first, first + period)]
    turns = [kept(every.narrow(pool, everything(pool), {"rounds": period}, SEED)) for pool in pools]
    assert sorted(number for turn in turns for number in turn) == list(range(count))


def test_every_keeps_items_that_were_never_scored() -> None:
    pool = known([np.nan] * 40)
    assert kept(every.narrow(pool, everything(pool), {"rounds": 4}, SEED)) == list(range(40))


def test_clusters_keep_a_share_of_each_nearest_first() -> None:
    pool = known(
        [0.5] * 30,
        cluster=np.repeat(np.arange(3, dtype=np.int32), 10),
        distance=np.tile(np.arange(10, dtype=np.float32), 3),
    )
    narrowed = clusters.narrow(pool, everything(pool), {"ratio": 0.4, "nearest": 0.5}, SEED)
    assert narrowed.kept["cluster nearest"].tolist() == [0, 1, 10, 11, 20, 21]
    drawn = narrowed.kept["cluster random"]
    assert np.bincount(drawn // 10).tolist() == [2, 2, 2]
    assert not set(drawn.tolist()) & {0, 1, 10, 11, 20, 21}


def test_items_without_a_cluster_form_one() -> None:
    pool = known([0.5] * 10)
    assert len(kept(clusters.narrow(pool, everything(pool), {"ratio": 0.3, "nearest": 0.5}, SEED))) == 3


PRUNE = {"share": 0.25, "times": 1, "rounds": 2}


def test_prune_suspends_the_lowest_values() -> None:
    pool = known([0.4, 0.1, 0.9, 0.2, 0.8, 0.7, 0.6, 0.5])
    narrowed = prune.narrow(pool, everything(pool), PRUNE, SEED)
    assert kept(narrowed) == [0, 2, 4, 5, 6, 7]
    assert narrowed.left_out == "suspended"


def test_a_suspended_item_is_scored_again_when_its_time_is_over() -> None:
    early, late = (known([0.4, 0.1, 0.9, 0.2], 0, round_) for round_ in (2, 3))
    assert kept(prune.narrow(early, everything(early), PRUNE, SEED)) == [0, 2, 3]
    assert kept(prune.narrow(late, everything(late), PRUNE, SEED)) == [0, 1, 2, 3]


def test_a_dropped_item_stays_out() -> None:
    pool = known([0.4, 0.1, 0.9, 0.2], 0, 99)
    narrowed = prune.narrow(pool, everything(pool), PRUNE | {"rounds": None}, SEED)
    assert (kept(narrowed), narrowed.left_out) == ([0, 2, 3], "dropped")


@pytest.mark.parametrize(("ratio", "count", "kept_of_them"), [(0.07, 100, 7), (0.29, 100, 29), (0.001, 100, 1)])
def test_shares_are_taken_as_they_are_written(ratio: float, count: int, kept_of_them: int) -> None:
    pool = known([i / count for i in range(count)])
    assert len(kept(clusters.narrow(pool, everything(pool), {"ratio": ratio, "nearest": 0.5}, SEED))) == kept_of_them
    pruned = prune.narrow(pool, everything(pool), PRUNE | {"share": ratio}, SEED)
    assert len(kept(pruned)) == count - int(round(ratio * count, 6))


def test_prune_spares_items_that_were_scored_too_seldom_or_never() -> None:
    pool = known([0.4, 0.1, np.nan, 0.2])
    assert kept(prune.narrow(pool, everything(pool), PRUNE | {"times": 2, "share": 0.9}, SEED)) == [0, 1, 2, 3]


@pytest.mark.parametrize("how", ["every", "clusters", "prune"])
@given(data=st.data())
def test_the_order_of_rows_changes_nothing(how: str, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    cells = st.lists(st.integers(0, 3), min_size=count, max_size=count)
    pool = known(
        [float(v) for v in data.draw(cells)],
        cluster=np.array(data.draw(cells), dtype=np.int32),
        distance=np.array(data.draw(cells), dtype=np.float32),
    )
    scope, settings = {
        "every": (every, {"rounds": 3}),
        "clusters": (clusters, {"ratio": 0.4, "nearest": 0.5}),
        "prune": (prune, PRUNE),
    }[how]
    mixed = shuffled(pool, data.draw(st.permutations(range(count))))
    one, other = (scope.narrow(items, everything(items), settings, SEED) for items in (pool, mixed))
    assert kept_ids(pool, one) == kept_ids(mixed, other)


def test_scopes_narrow_one_after_the_other_and_say_why() -> None:
    pool = known([i / 40 for i in range(40)])
    scopes = [{"name": "prune", **PRUNE}, {"name": "top", "size": 5, "ratio": None, "explore": 0.0}]
    chosen, reasons, why = narrow(pool, scopes, SEED)
    assert chosen.tolist() == [35, 36, 37, 38, 39]
    said = [reasons[code] for code in why]
    assert said == ["suspended"] * 10 + ["not a candidate"] * 25 + ["top"] * 5


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(ConfigError, match="'best'"):
        narrow(known([0.1]), [{"name": "best"}], SEED)
