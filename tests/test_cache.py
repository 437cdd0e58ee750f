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
