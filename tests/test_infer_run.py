"""The stage INFER on files."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks import files
from tasks.cost.ledger import Usage
from tasks.datasets import tables
from tasks.errors import ConfigError, DataError, FrugalError
from tasks.infer import run as stage
from tasks.models import stored
from tasks.rounds import Workspace
from tests.model_helpers import POOL_ITEMS, digits_workspace, label, pool_ids, train
from tests.pools import CLASSIFICATION


@pytest.fixture
def trained(tmp_path: Path) -> Workspace:
    """Round 0 of a digits loop with 20 of 60 items labelled and a model."""
    workspace = digits_workspace(tmp_path)
    train(workspace)
    return workspace


def infer(workspace: Workspace, round_: int = 0) -> Usage:
    usage = Usage()
    stage.run(workspace, round_, usage)
    return usage


def cache(workspace: Workspace, round_: int) -> pa.Table:
    return files.read_table(workspace.round_dir(round_) / "scores.parquet")


def test_every_unlabelled_item_is_scored_in_its_order(trained) -> None:
    usage = infer(trained)
    table = cache(trained, 0)
    assert table.schema.equals(tables.scores(CLASSIFICATION))
    assert table["id"].to_pylist() == pool_ids(trained)[20:]
    assert usage.items_scored == usage.forward_passes == POOL_ITEMS - 20
    assert list(usage.device_s) == ["cpu"]
    assert np.isfinite(np.asarray(table["score"])).all()


def test_rows_carry_model_round_and_count(trained) -> None:
    infer(trained)
    card = files.read_json(trained.round_dir(0) / "model.json")
    assert set(cache(trained, 0)["model"].to_pylist()) == {card["digest"]}
    assert set(cache(trained, 0)["scored_round"].to_pylist()) == {0}
    assert set(cache(trained, 0)["times_scored"].to_pylist()) == {1}


def test_bytes_are_the_same_each_time(trained) -> None:
    infer(trained)
    path = trained.round_dir(0) / "scores.parquet"
    first = path.read_bytes()
    infer(trained)
    assert path.read_bytes() == first


def test_times_scored_follow_the_id_where_the_pool_is_reordered(trained) -> None:
    infer(trained)
    label(trained, 1, 30)
    train(trained, 1)
    path = trained.round_dir(0) / "scores.parquet"
    before = cache(trained, 0)
    counts = pa.array(range(len(before)), pa.int32())
    files.write_table(path, before.set_column(4, "times_scored", counts).take(list(range(len(before)))[::-1]))
    infer(trained, 1)
    after = cache(trained, 1)
    assert after["id"].to_pylist() == pool_ids(trained)[30:]
    assert after["times_scored"].to_pylist() == list(range(11, 41))


def test_scope_none_carries_on_what_is_still_unlabelled_and_runs_no_model(trained) -> None:
    infer(trained)
    label(trained, 1, 30, infer_scope="none")
    usage = infer(trained, 1)
    assert cache(trained, 1).drop("scope").equals(cache(trained, 0).slice(10).drop("scope"))
    assert set(cache(trained, 1)["scope"].to_pylist()) == {"carried on"}
    assert (usage.items_scored, usage.forward_passes, usage.device_s) == (0, 0, {})


def test_model_is_spelled_out_once_and_not_for_every_item(trained) -> None:
    infer(trained)
    column = cache(trained, 0)["model"]
    assert column.type == pa.dictionary(pa.int32(), pa.string())
    assert column.combine_chunks().dictionary.to_pylist() == [stored.read_card(trained.round_dir(0))["digest"]]


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())])
def test_scope_none_carries_on_several_models_with_the_same_bytes_each_time(trained, kind) -> None:
    infer(trained)
    path = trained.round_dir(0) / "scores.parquet"
    before = cache(trained, 0)
    models = pa.array([f"{number % 3:064d}" for number in range(len(before))]).cast(kind)
    pq.write_table(before.set_column(3, "model", models), path, row_group_size=7)
    label(trained, 1, 30, infer_scope="none")
    infer(trained, 1)
    first = (trained.round_dir(1) / "scores.parquet").read_bytes()
    infer(trained, 1)
    assert (trained.round_dir(1) / "scores.parquet").read_bytes() == first
    assert cache(trained, 1).schema.equals(tables.scores(CLASSIFICATION))
    assert cache(trained, 1)["model"].to_pylist() == models.to_pylist()[10:]


def test_scope_none_at_the_start_gives_an_empty_cache(trained) -> None:
    label(trained, 0, 20, infer_scope="none")
    infer(trained)
    assert cache(trained, 0).equals(tables.scores(CLASSIFICATION).empty_table())


def test_no_unlabelled_items_give_an_empty_cache(trained) -> None:
    label(trained, 0, POOL_ITEMS)
    assert infer(trained).items_scored == 0
    assert cache(trained, 0).equals(tables.scores(CLASSIFICATION).empty_table())


def test_unknown_scope_is_refused(trained) -> None:
    label(trained, 0, 20, infer_scope="half")
    with pytest.raises(ConfigError, match=r"plan\.json: infer_scope is 'half'"):
        infer(trained)


def test_changed_weights_are_refused(trained) -> None:
    path = trained.round_dir(0) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="not the weights"):
        infer(trained)


def test_score_that_is_not_finite_is_refused_with_its_id(trained, monkeypatch) -> None:
    def broken(batch):
        return np.where(np.arange(len(batch)) == 3, np.nan, 0.5)

    monkeypatch.setattr("tasks.infer.uncertainty.entropy", broken)
    with pytest.raises(FrugalError, match=f"item '{pool_ids(trained)[23]}' has the score nan.*start a new loop with"):
        infer(trained)
    assert not (trained.round_dir(0) / "scores.parquet").exists()


MC = {"acquisition": "bald", "passes": 4}
NET = {"model": "ceal_cnn", "epochs": 1}
CANDIDATES = {
    "name": "candidates",
    "size": 12,
    "ratio": None,
    "temperature": 0.1,
    "power": 1.0,
    "scale": "rank",
    "explore": 0.25,
    "stale_bonus": 0.0,
}


def rows_of(table: pa.Table) -> dict[str, dict[str, object]]:
    return {row["id"]: row for row in table.to_pylist()}


def second_round(workspace: Workspace, scopes: list[dict[str, object]]) -> dict[str, dict[str, object]]:
    """INFER of round 1, in which ten more items have labels, under some scopes."""
    infer(workspace)
    label(workspace, 1, 30, infer_scope=scopes)
    train(workspace, 1)
    infer(workspace, 1)
    return rows_of(cache(workspace, 1))


def test_candidates_get_new_values_and_the_others_keep_theirs(trained) -> None:
    after = second_round(trained, [CANDIDATES])
    before = rows_of(cache(trained, 0))
    assert list(after) == pool_ids(trained)[30:]
    renewed = {id_ for id_, row in after.items() if row["scored_round"] == 1}
    assert len(renewed) == 12
    for id_, row in after.items():
        assert row["times_scored"] == (2 if id_ in renewed else 1)
        assert (row["score"] == before[id_]["score"]) == (row["model"] == before[id_]["model"]) == (id_ not in renewed)
    said = [row["scope"] for row in after.values()]
    assert (said.count("candidates"), said.count("explore"), said.count("not a candidate")) == (9, 3, 18)


def test_the_bill_counts_candidates_and_their_passes(tmp_path) -> None:
    workspace = digits_workspace(tmp_path, train=NET, infer=MC)
    train(workspace)
    assert infer(workspace).forward_passes == 4 * (POOL_ITEMS - 20)
    label(workspace, 1, 30, infer_scope=[CANDIDATES])
    train(workspace, 1)
    usage = infer(workspace, 1)
    assert (usage.items_scored, usage.forward_passes) == (12, 48)
    label(workspace, 1, 30, infer_scope=[CANDIDATES], infer_passes=2)
    assert infer(workspace, 1).forward_passes == 24


def test_the_order_of_the_held_out_set_changes_no_metric(trained) -> None:
    before = (trained.round_dir(0) / "metrics.json").read_bytes()
    path = trained.pool / "test.parquet"
    table = files.read_table(path)
    files.write_table(path, table.take(np.random.default_rng(2).permutation(len(table))))
    train(trained)
    assert (trained.round_dir(0) / "metrics.json").read_bytes() == before


CLUSTERS = {"name": "clusters", "count": 4, "ratio": 0.25, "nearest": 0.5}
PRUNE = {"name": "prune", "share": 0.25, "times": 1, "rounds": 2}
TOP = {"name": "top", "size": 8, "ratio": None, "explore": 0.25}


@pytest.mark.parametrize(
    ("scopes", "settings"),
    [
        ([CANDIDATES], {}),
        ([{"name": "every", "rounds": 3}], {}),
        ([CLUSTERS], {"infer": MC | {"scope": ["clusters"], "clusters": {"count": 4}}}),
        ([PRUNE, TOP], {}),
        (
            [CANDIDATES],
            {"train": {"model": "linear", "epochs": 1, "members": 3}, "infer": {"acquisition": "variation_ratios"}},
        ),
    ],
    ids=["candidates", "every", "clusters", "prune and top", "ensemble"],
)
def test_the_order_of_rows_in_any_file_changes_no_value(tmp_path, scopes, settings) -> None:
    workspace = digits_workspace(tmp_path, **({"train": NET, "infer": MC} | settings))
    train(workspace)
    expected = second_round(workspace, scopes)
    assert 0 < sum(row["scored_round"] == 1 for row in expected.values()) < len(expected)
    for path in (
        workspace.pool / "manifest.parquet",
        workspace.round_dir(0) / "scores.parquet",
        workspace.round_dir(1) / "unlabeled.parquet",
    ):
        table = files.read_table(path)
        files.write_table(path, table.take(np.random.default_rng(1).permutation(len(table))))
    infer(workspace, 1)
    assert rows_of(cache(workspace, 1)) == expected


def test_an_ensemble_counts_a_pass_of_each_member(tmp_path) -> None:
    workspace = digits_workspace(
        tmp_path, train={"model": "linear", "epochs": 1, "members": 3}, infer={"acquisition": "variation_ratios"}
    )
    train(workspace)
    assert infer(workspace).forward_passes == 3 * (POOL_ITEMS - 20)
    thirds = np.asarray(cache(workspace, 0)["score"]) * 3
    assert thirds == pytest.approx(np.round(thirds))


def test_clusters_are_found_once_and_carried_on(tmp_path) -> None:
    infer_ = {"scope": ["clusters"], "clusters": {"count": 4, "ratio": 0.25}}
    workspace = digits_workspace(tmp_path, train=NET, infer=infer_)
    train(workspace)
    first = infer(workspace)
    assert first.forward_passes == 3 * first.items_scored
    before = rows_of(cache(workspace, 0))
    assert {row["cluster"] for row in before.values()} <= {0, 1, 2, 3}
    after = second_round(workspace, [CLUSTERS])
    assert all(row["cluster"] == before[id_]["cluster"] for id_, row in after.items())
    assert 8 <= sum(row["scored_round"] == 1 for row in after.values()) <= 12


def test_what_was_dropped_stays_out_though_others_fall_below_it(trained) -> None:
    prune = {"name": "prune", "share": 0.25, "times": 1, "rounds": None}
    after = second_round(trained, [prune])
    dropped = {id_ for id_, row in after.items() if row["scope"] == "dropped"}
    assert len(dropped) == 7
    label(trained, 2, 50, infer_scope=[prune])
    train(trained, 2)
    infer(trained, 2)
    last = rows_of(cache(trained, 2))
    assert all(last[id_]["scope"] == "dropped" and last[id_]["scored_round"] == 0 for id_ in dropped & set(last))


def test_an_empty_list_of_scopes_is_refused(trained) -> None:
    label(trained, 0, 20, infer_scope=[])
    with pytest.raises(ConfigError, match=r"infer_scope is \[\]"):
        infer(trained)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"temperature": 0}, r"infer_scope: candidates\.temperature"),
        ({"temperature": "x"}, r"infer_scope: candidates\.temperature"),
        ({"scale": "zz"}, r"infer_scope: candidates\.scale"),
        ({"explore": 2.0}, r"infer_scope: candidates\.explore"),
        ({"size": None}, r"needs one of candidates\.size and candidates\.ratio"),
        ({"name": "best"}, r"unknown scope"),
        ({"name": "full"}, r"infer_scope: full takes no settings"),
    ],
)
def test_a_plan_whose_scope_cannot_be_is_refused(trained, settings, told) -> None:
    label(trained, 0, 20, infer_scope=[CANDIDATES | settings])
    with pytest.raises(ConfigError, match=told):
        infer(trained)


def test_a_cache_of_another_function_is_refused_and_nothing_written(trained) -> None:
    infer(trained)
    path = trained.round_dir(0) / "scores.parquet"
    table = files.read_table(path)
    files.write_table(path, table.replace_schema_metadata({"frugal.acquisition": "margin"}))
    label(trained, 1, 30)
    train(trained, 1)
    with pytest.raises(DataError, match="'margin', not of 'entropy'"):
        infer(trained, 1)
    assert not (trained.round_dir(1) / "scores.parquet").exists()
