"""The acquisition cache as it is read and written."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks import cache, files
from tasks.datasets import tables
from tasks.errors import DataError
from tasks.infer.entries import Entries
from tasks.infer.narrowing import known
from tasks.infer.scoring import Scored
from tasks.task_type import TaskType
from tests.pools import CLASSIFICATION, PRICE, write_scores


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A cache of three items, as an earlier release wrote it: without a word on its pool and function."""
    path = tmp_path / "scores.parquet"
    write_scores(path, {"a": 0.5, "b": 0.25, "c": 0.75})
    return path


def written(path: Path, acquisition: str, pool: str | None) -> Path:
    cache.write(path, cache.read(path, acquisition, pool, CLASSIFICATION), acquisition, pool)
    return path


def test_a_cache_is_read_back_as_it_was_written(path: Path) -> None:
    before = cache.read(path, "entropy", "p1", CLASSIFICATION)
    cache.write(path, before, "entropy", "p1")
    assert cache.read(path, "entropy", "p1", CLASSIFICATION).equals(before)


@pytest.mark.parametrize(("acquisition", "pool", "named"), [("bald", "p1", "acquisition"), ("entropy", "p2", "pool")])
def test_a_cache_of_another_function_or_pool_is_refused(path: Path, acquisition: str, pool: str, named: str) -> None:
    written(path, "entropy", "p1")
    with pytest.raises(DataError, match=f"{named} .*{'entropy' if named == 'acquisition' else 'p1'}"):
        cache.read(path, acquisition, pool, CLASSIFICATION)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_item(tmp_path: Path, value: float) -> None:
    write_scores(tmp_path / "scores.parquet", {"a": 0.5, "b": value})
    with pytest.raises(DataError, match="item 'b'"):
        cache.read(tmp_path / "scores.parquet", "entropy", None, CLASSIFICATION)


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("id", ["a", "a", "c"], "item 'a' stands there more than once"),
        ("id", ["a", None, "c"], "a row without an id"),
        ("scored_round", [0, -7, 0], "item 'b' has the scored_round -7"),
        ("scored_round", [0, None, 0], "item 'b' has the scored_round"),
        ("scored_round", ["x", "y", "z"], "a column is not of its type"),
        ("score", ["x", "y", "z"], "a column is not of its type"),
        ("proposal", [0, 1, -1], "item 'c' has the proposal -1"),
        ("confidence", [0.5, 1.5, 0.5], "item 'b' has the confidence 1.5"),
        ("confidence", [0.5, float("nan"), 0.5], "item 'b' has the confidence nan"),
    ],
)
def test_what_no_pass_can_have_written_is_refused(path: Path, name: str, values: list[object], told: str) -> None:
    table = files.read_table(path)
    files.write_table(path, table.set_column(table.column_names.index(name), name, pa.array(values)))
    with pytest.raises(DataError, match=told):
        cache.read(path, "entropy", None, CLASSIFICATION)


def test_a_cache_that_knows_none_of_the_items_is_refused(path: Path) -> None:
    table = cache.read(path, "entropy", None, CLASSIFICATION)
    manifest = path.parent / "manifest.parquet"
    files.write_table(manifest, pa.table({"id": ["x", "y", "z"]}))
    cache.check_pool(path, table, pa.array(["x", "c"]), manifest)
    with pytest.raises(DataError, match="knows no item of the pool"):
        cache.check_pool(path, table, pa.array(["x", "y"]), manifest)


def test_a_cache_of_items_that_are_all_labelled_by_now_is_the_pools(path: Path) -> None:
    manifest = path.parent / "manifest.parquet"
    files.write_table(manifest, pa.table({"id": ["x", "y", "c"]}))
    cache.check_pool(path, cache.read(path, "entropy", None, CLASSIFICATION), pa.array(["x", "y"]), manifest)


def test_columns_that_an_earlier_release_did_not_write_are_null(path: Path) -> None:
    table = cache.read(path, "entropy", None, CLASSIFICATION)
    assert table["cluster"].null_count == table["scope"].null_count == 3


@pytest.mark.parametrize("name", ["model", "proposal", "confidence"])
def test_a_cache_that_lacks_what_all_have_is_refused(path: Path, name: str) -> None:
    files.write_table(path, files.read_table(path).drop(name))
    with pytest.raises(DataError, match=f"lacks the column '{name}'"):
        cache.read(path, "entropy", None, CLASSIFICATION)


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    files.write_table(tmp_path / "scores.parquet", pa.table({"id": ["a"]}))
    with pytest.raises(DataError, match="score"):
        cache.read(tmp_path / "scores.parquet", "entropy", None, CLASSIFICATION)


def test_rows_are_found_by_id_and_absent_ones_filled(path: Path) -> None:
    table = cache.read(path, "entropy", None, CLASSIFICATION)
    rows = cache.rows(table, pa.array(["c", "x", "a"]))
    assert cache.column(table, rows, "score", -1.0).tolist() == [0.75, -1.0, 0.5]


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    """A cache of three items whose labels are numbers."""
    path = tmp_path / "prices.parquet"
    write_scores(path, {"a": 0.5, "b": 0.25, "c": 0.75}, PRICE)
    return path


def test_a_cache_of_numbers_is_read_back_with_their_standard_deviations(prices: Path) -> None:
    before = cache.read(prices, "total_std", "p1", PRICE)
    assert before.schema.equals(tables.scores(PRICE))
    assert (before["proposal"].type, before["std"].type) == (pa.float64(), pa.float64())
    assert "confidence" not in before.column_names
    cache.write(prices, before, "total_std", "p1")
    assert cache.read(prices, "total_std", "p1", PRICE).equals(before)


def test_the_columns_of_classes_are_what_they_always_were() -> None:
    assert tables.scores(CLASSIFICATION).names == [
        *("id", "score", "scored_round", "model", "times_scored", "proposal", "confidence", "scope", "cluster"),
        "distance",
    ]
    assert tables.labeled(CLASSIFICATION).types == [pa.string(), pa.int64(), pa.int32()]


def test_only_the_wanted_columns_are_read(prices: Path) -> None:
    assert cache.read(prices, "total_std", None, PRICE, ("id", "score", "std")).column_names == ["id", "score", "std"]


@pytest.mark.parametrize(("task", "other", "lacking"), [(PRICE, CLASSIFICATION, "std"), (CLASSIFICATION, PRICE, "con")])
def test_a_cache_of_the_other_kind_of_labels_is_refused(
    tmp_path: Path, task: TaskType, other: TaskType, lacking: str
) -> None:
    write_scores(tmp_path / "scores.parquet", {"a": 0.5}, other)
    with pytest.raises(DataError, match=f"lacks the column '{lacking}"):
        cache.read(tmp_path / "scores.parquet", "total_std", None, task)


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("proposal", [1.0, np.nan, 2.0], "item 'b' has the proposal nan, which is not a finite number"),
        ("proposal", [1.0, np.inf, 2.0], "item 'b' has the proposal inf"),
        ("proposal", [1.0, None, 2.0], "item 'b' has the proposal"),
        ("std", [0.0, -0.5, 1.0], "item 'b' has the std -0.5, which is not a standard deviation"),
        ("std", [0.0, 1.0, np.inf], "item 'c' has the std inf"),
        ("std", [np.nan, 1.0, 1.0], "item 'a' has the std nan"),
    ],
)
def test_numbers_that_no_model_can_have_proposed_are_refused(
    prices: Path, name: str, values: list[object], told: str
) -> None:
    table = files.read_table(prices)
    files.write_table(prices, table.set_column(table.column_names.index(name), name, pa.array(values, pa.float64())))
    with pytest.raises(DataError, match=told):
        cache.read(prices, "total_std", None, PRICE)


def test_a_model_may_propose_a_number_that_nobody_may_answer(prices: Path) -> None:
    table = files.read_table(prices)
    proposals = pa.array([-5.0, 200.0, 1.0])
    files.write_table(prices, table.set_column(table.column_names.index("proposal"), "proposal", proposals))
    assert cache.read(prices, "total_std", None, PRICE)["proposal"].to_pylist() == proposals.to_pylist()


@pytest.mark.parametrize(("task", "proposals"), [(CLASSIFICATION, [2, 0]), (PRICE, [2.5, -0.5])])
def test_renewed_entries_are_written_in_the_columns_of_their_task(
    prices: Path, path: Path, task: TaskType, proposals: list[float]
) -> None:
    before = cache.read(prices if task is PRICE else path, "any", None, task)
    entries = Entries.carried_on(known(pa.array(["c", "x", "a"]), before, 1), before, task)
    said = Scored(np.array([0.1, 0.2]), np.array(proposals), np.array([0.25, 0.125]))
    entries.renew(np.array([0, 1]), said, 1, "m2")
    entries.explain(["full"], np.zeros(3, np.int32))
    table = entries.table()
    assert table.schema.equals(tables.scores(task))
    assert table["proposal"].to_pylist() == [*proposals, 1]
    assert table[task.certainty].to_pylist() == [0.25, 0.125, 0.5]
    assert table["model"].to_pylist() == ["m2", "m2", "m"]
