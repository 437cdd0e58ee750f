"""The acquisition cache as it is read and written."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks import cache, files
from tasks.errors import DataError
from tests.pools import write_scores


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A cache of three items, as an earlier release wrote it: without a word on its pool and function."""
    path = tmp_path / "scores.parquet"
    write_scores(path, {"a": 0.5, "b": 0.25, "c": 0.75})
    return path


def written(path: Path, acquisition: str, pool: str | None) -> Path:
    cache.write(path, cache.read(path, acquisition, pool), acquisition, pool)
    return path


def test_a_cache_is_read_back_as_it_was_written(path: Path) -> None:
    before = cache.read(path, "entropy", "p1")
    cache.write(path, before, "entropy", "p1")
    assert cache.read(path, "entropy", "p1").equals(before)


@pytest.mark.parametrize(("acquisition", "pool", "named"), [("bald", "p1", "acquisition"), ("entropy", "p2", "pool")])
def test_a_cache_of_another_function_or_pool_is_refused(path: Path, acquisition: str, pool: str, named: str) -> None:
    written(path, "entropy", "p1")
    with pytest.raises(DataError, match=f"{named} .*{'entropy' if named == 'acquisition' else 'p1'}"):
        cache.read(path, acquisition, pool)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_item(tmp_path: Path, value: float) -> None:
    write_scores(tmp_path / "scores.parquet", {"a": 0.5, "b": value})
    with pytest.raises(DataError, match="item 'b'"):
        cache.read(tmp_path / "scores.parquet", "entropy", None)


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
        cache.read(path, "entropy", None)


def test_a_cache_that_knows_none_of_the_items_is_refused(path: Path) -> None:
    table = cache.read(path, "entropy", None)
    manifest = path.parent / "manifest.parquet"
    files.write_table(manifest, pa.table({"id": ["x", "y", "z"]}))
    cache.check_pool(path, table, pa.array(["x", "c"]), manifest)
    with pytest.raises(DataError, match="knows no item of the pool"):
        cache.check_pool(path, table, pa.array(["x", "y"]), manifest)


def test_a_cache_of_items_that_are_all_labelled_by_now_is_the_pools(path: Path) -> None:
    manifest = path.parent / "manifest.parquet"
    files.write_table(manifest, pa.table({"id": ["x", "y", "c"]}))
    cache.check_pool(path, cache.read(path, "entropy", None), pa.array(["x", "y"]), manifest)


def test_columns_that_an_earlier_release_did_not_write_are_null(path: Path) -> None:
    table = cache.read(path, "entropy", None)
    assert table["cluster"].null_count == table["scope"].null_count == 3


@pytest.mark.parametrize("name", ["model", "proposal", "confidence"])
def test_a_cache_that_lacks_what_all_have_is_refused(path: Path, name: str) -> None:
    files.write_table(path, files.read_table(path).drop(name))
    with pytest.raises(DataError, match=f"lacks the column '{name}'"):
        cache.read(path, "entropy", None)


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    files.write_table(tmp_path / "scores.parquet", pa.table({"id": ["a"]}))
    with pytest.raises(DataError, match="score"):
        cache.read(tmp_path / "scores.parquet", "entropy", None)


def test_rows_are_found_by_id_and_absent_ones_filled(path: Path) -> None:
    table = cache.read(path, "entropy", None)
    rows = cache.rows(table, pa.array(["c", "x", "a"]))
    assert cache.column(table, rows, "score", -1.0).tolist() == [0.75, -1.0, 0.5]
