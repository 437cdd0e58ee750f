"""Tables: how their columns become numbers, and every way in which they can be wrong."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import registry
from tasks.config import DatasetConfig
from tasks.datasets import holdout, table
from tasks.datasets.source import Source, Split
from tasks.errors import ConfigError, DataError
from tasks.task_type.classification import Classification
from tasks.task_type.regression import Regression
from tests.datasets_helpers import table as write

DATA = os.environ.get("FRUGAL_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="FRUGAL_DATA is not set")

HEADER = ("id", "size", "place", "label")
POOL = [("a", "1", "inland", "10"), ("b", "", "bay", "20.5"), ("c", "5", "", ""), ("d", "3", "bay", "-1e1")]
TEST = [("x", "2.5", "bay", "1"), ("y", "", "island", "2")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four rows in the pool with gaps, the third without a label, and two held out."""
    write(tmp_path / "train.csv", HEADER, *POOL)
    write(tmp_path / "test.csv", HEADER, *TEST)
    return tmp_path


def load(root: Path, task="regression", **settings) -> Source:
    return table.load(DatasetConfig(name="table", root=str(root), **settings), [root], task)


def items(split: Split) -> list[list[float]]:
    found = split.read(np.arange(len(split.ids)))
    assert found.dtype == np.float32
    return found.tolist()


def refused(root: Path, match: str, task="regression", error=DataError, **settings) -> None:
    with pytest.raises(error, match=match) as caught:
        load(root, task, **settings)
    assert "\n" not in str(caught.value)


def columns(root: Path, pool: dict, test: dict) -> Source:
    """The table with these columns, and labels that differ."""
    for name, values in (("train", pool), ("test", test)):
        rows = zip(*values.values(), strict=True)
        write(root / f"{name}.csv", (*values, "label"), *((*row, str(n)) for n, row in enumerate(rows)))
    return load(root)


def test_numbers_gaps_and_categories_are_encoded_by_the_pool(root):
    source = load(root)

    assert (source.kind, source.shape) == ("numbers", (5,))
    # size, whether it is missing, bay, inland, whether place is missing
    assert items(source.pool) == [[1, 0, 0, 1, 0], [3, 1, 1, 0, 0], [5, 0, 0, 0, 1], [3, 0, 1, 0, 0]]
    assert items(source.test) == [[2.5, 0, 1, 0, 0], [3, 1, 0, 0, 0]]
    assert source.pool.read(np.array([2, 0])).tolist() == [[5, 0, 0, 0, 1], [1, 0, 0, 1, 0]]


def test_labels_of_a_regression_are_numbers_and_blank_ones_are_unknown(root):
    source = load(root)

    assert source.task == Regression("label", None)
    assert source.pool.labels.dtype == np.float64
    assert np.array_equal(source.pool.labels, [10, 20.5, np.nan, -10], equal_nan=True)
    assert source.test.labels.tolist() == [1, 2]
    assert source.pool.ids == ["a", "b", "c", "d"]
    assert source.pool.uris == [f"train.csv#{row}" for row in range(4)]


def test_people_see_the_columns_as_the_file_has_them(root):
    assert load(root).pool.fields == [
        '{"size": 1, "place": "inland"}',
        '{"size": null, "place": "bay"}',
        '{"size": 5, "place": null}',
        '{"size": 3, "place": "bay"}',
    ]


def test_what_people_see_is_json_whatever_the_column_holds(root):
    odd = ['say "x"', "back\\slash", "line\nbreak", "é", "007", "+1", ".5", "1e5"]
    source = columns(root, {'o"dd': odd, "n": range(8)}, {'o"dd': ["", "x"], "n": [1, 2]})

    seen = [json.loads(row)['o"dd'] for row in source.pool.fields or []]
    assert seen == [*odd[:7], 1e5]
    assert json.loads((source.test.fields or [])[0]) == {'o"dd': None, "n": 1}


def test_classes_are_read_for_a_classification(root):
    write(root / "train.csv", HEADER, ("a", "1", "bay", "yes"), ("b", "2", "bay", ""), ("c", "3", "bay", "no"))
    write(root / "test.csv", HEADER, ("x", "1", "bay", "no"), ("y", "1", "bay", "yes"))
    source = load(root, "classification")

    assert source.task == Classification(("no", "yes"))
    assert source.pool.labels.tolist() == [1, -1, 0]


def test_class_that_only_the_pool_has_is_refused(root):
    write(root / "test.csv", HEADER, ("x", "1", "bay", "10"), ("y", "1", "bay", "20.5"))
    refused(root, r"train\.csv: row 4 \(line 5\): class '-1e1' is not in .*test\.csv", task="classification")


def test_formats_agree(root):
    expected = load(root)
    rows = [dict(zip(HEADER, row, strict=True)) for row in POOL]
    typed = [{**row, "size": float(row["size"] or "nan"), "label": float(row["label"] or "nan")} for row in rows]
    (root / "rows.csv.gz").write_bytes(gzip.compress((root / "train.csv").read_bytes()))
    (root / "lines.jsonl").write_text(
        "".join(json.dumps({**row, "label": row["label"] or None}) + "\n" for row in rows)
    )
    (root / "numbers.jsonl").write_text(
        "".join(json.dumps({**row, "label": rows[n]["label"]}) + "\n" for n, row in enumerate(typed))
    )
    pq.write_table(pa.Table.from_pylist(typed), root / "frame.parquet")

    for name in ("rows", "lines", "numbers", "frame"):
        found = load(root, pool=name)
        assert items(found.pool) == items(expected.pool), name
        assert items(found.test) == items(expected.test), name
        assert np.array_equal(found.pool.labels, expected.pool.labels, equal_nan=True), name


def test_types_of_parquet_are_numbers(root):
    typed = {
        "flag": [True, False, None],
        "whole": pa.array([1, 2, 3], pa.int16()),
        "exact": pa.array([1, 2, 4]).cast(pa.decimal128(21, 2)),
        "kind": pa.array(["u", "v", "u"]).dictionary_encode(),
        "label": [1.0, 2.0, 3.0],
    }
    pq.write_table(pa.table(typed), root / "train.parquet")
    (root / "train.csv").unlink()
    write(root / "test.csv", tuple(typed), ("true", "7", "0.5", "v", "1"), ("FALSE", "8", "1", "w", "2"))
    source = load(root)

    assert items(source.pool) == [[1, 0, 1, 1, 1, 0], [0, 0, 2, 2, 0, 1], [0.5, 1, 3, 4, 1, 0]]
    assert items(source.test) == [[1, 0, 7, 0.5, 0, 1], [0, 0, 8, 1, 0, 0]]
    assert json.loads((source.pool.fields or [])[2])["flag"] is None


def test_gap_that_only_the_held_out_set_has_is_filled_without_a_column_of_its_own(root):
    source = columns(root, {"a": [1, 2, 6], "b": ["u", "v", "v"]}, {"a": ["", 1], "b": ["", "u"]})

    assert items(source.test) == [[2, 0, 0], [1, 1, 0]]


def test_columns_in_which_the_pool_is_alike_are_left_out(root):
    pool = {"same": ["7", "7"], "one": ["u", "u"], "none": ["", "nan"], "a": ["1", "2"]}
    source = columns(root, pool, {"same": ["8", ""], "one": ["v", "u"], "none": ["3", "4"], "a": ["1", "5"]})

    assert items(source.pool) == [[1], [2]]
    assert items(source.test) == [[1], [5]]
    assert json.loads((source.pool.fields or [])[0]) == {"same": 7, "one": "u", "none": None, "a": 1}


def test_no_column_that_tells_rows_apart_is_refused(root):
    write(root / "train.csv", ("a", "label"), ("1", "1"), ("1", "2"))
    write(root / "test.csv", ("a", "label"), ("1", "1"), ("2", "2"))
    refused(root, r"train\.csv: no column tells one row of the pool from another \(a\).*dataset\.features")

    write(root / "train.csv", ("label",), ("1",), ("2",))
    refused(root, r"no column tells one row of the pool from another \(none\)")


def test_named_features_are_taken_in_their_order(root):
    source = load(root, features=("place", "size"))

    assert items(source.pool)[0] == [0, 1, 0, 1, 0]
    assert (source.pool.fields or [])[0] == '{"place": "inland", "size": 1}'


@pytest.mark.parametrize(
    ("features", "match", "error"),
    [
        (("size", "depth"), r"train\.csv: no column 'depth'; it has 'id', 'size', .*dataset\.features", DataError),
        (("size", "label"), r"dataset\.features: 'label' holds the labels", ConfigError),
        (("size", "size"), r"dataset\.features: names a column twice", ConfigError),
    ],
)
def test_features_that_cannot_be_are_refused(root, features, match, error):
    refused(root, match, features=features, error=error)


def test_held_out_file_that_lacks_a_feature_is_refused(root):
    write(root / "test.csv", ("size", "label"), ("1", "1"), ("2", "2"))
    refused(root, r"test\.csv: no column 'place'; it has 'size', 'label'")


def test_column_without_a_name_is_refused(root):
    write(root / "train.csv", ("", "a", "label"), ("0", "1", "1"), ("1", "2", "2"))
    refused(root, r"train\.csv: a column has no name")


def test_missing_label_column_is_refused_with_its_key(root):
    refused(root, r"test\.csv: no column 'price'; it has .*dataset\.label", label="price", features=("size",))


def test_column_of_too_many_categories_is_refused(root):
    values = [f"name {number}" for number in range(101)]
    with pytest.raises(DataError, match=r"row 1 \(line 2\): column 'name' has 'name 0', .* 101 different values"):
        columns(root, {"name": values}, {"name": ["x", "y"]})
    assert columns(root, {"name": values[:100]}, {"name": ["x", "y"]}).shape == (100,)


@pytest.mark.parametrize("value", ["n/a", "inf", "1,5", "1_000", "0x10", "1e400"])
def test_held_out_value_that_is_no_number_is_refused(root, value):
    with pytest.raises(DataError, match=r"test\.csv: row 2 \(line 3\): column 'a' has '.*', which is no finite number"):
        columns(root, {"a": [1, 2]}, {"a": ["1", value]})


def test_numbers_that_float32_does_not_hold_are_refused(root):
    with pytest.raises(DataError, match=r"train\.csv: row 2 \(line 3\): column 'a' has '-1e300', beyond 3\.4e\+38"):
        columns(root, {"a": ["1", "-1e300"]}, {"a": ["1", "2"]})
    with pytest.raises(DataError, match=r"test\.csv: row 1 \(line 2\): column 'a' has '1e39', beyond"):
        columns(root, {"a": ["1", "2"]}, {"a": ["1e39", "2"]})


def test_infinity_in_a_column_of_floats_is_refused(root):
    pq.write_table(pa.table({"a": [1.0, float("inf")], "label": [1, 2]}), root / "frame.parquet")
    write(root / "test.csv", ("a", "label"), ("1", "1"), ("2", "2"))
    refused(root, r"frame\.parquet: row 2: column 'a' has inf, which is no finite number", pool="frame")


@pytest.mark.parametrize(
    ("label", "match"),
    [
        ("n/a", r"label 'n/a' is not a number; label is a finite number"),
        ("1,5", r"label '1,5' is not a number"),
        ("1_000", r"label '1_000' cannot be"),
        ("inf", r"label 'inf' cannot be"),
        ("nan", r"label 'nan' cannot be"),
        ("true", r"label 'true' is not a number"),
        ("1e400", r"label '1e400' cannot be"),
    ],
)
@pytest.mark.parametrize("name", ["train", "test"])
def test_label_that_is_no_number_is_refused(root, name, label, match):
    rows = POOL if name == "train" else TEST
    write(root / f"{name}.csv", HEADER, *rows, ("z", "1", "bay", label))
    row = len(rows) + 1
    refused(root, rf"{name}\.csv: row {row} \(line {row + 1}\): {match}")


def test_label_outside_the_bounds_is_refused(root):
    assert load(root, bounds=(-10.0, 20.5)).task == Regression("label", (-10.0, 20.5))
    match = r"train\.csv: row 2 \(line 3\): label '20\.5' cannot be; label is a number from -10 to 20"
    refused(root, match, bounds=(-10.0, 20.0))


def test_infinite_label_of_parquet_is_refused_and_nan_is_unknown(root):
    pq.write_table(pa.table({"size": [1, 2, 3], "label": [1.0, float("nan"), None]}), root / "frame.parquet")
    assert np.isnan(load(root, pool="frame").pool.labels).tolist() == [False, True, True]

    pq.write_table(pa.table({"size": [1, 2], "label": [1.0, float("-inf")]}), root / "frame.parquet")
    refused(root, r"frame\.parquet: row 2: label '-inf' cannot be", pool="frame")


def test_held_out_row_without_a_label_is_refused(root):
    write(root / "test.csv", HEADER, *TEST, ("z", "1", "bay", ""))
    refused(root, r"test\.csv: row 3 \(line 4\): no label")


def test_held_out_labels_that_are_all_equal_are_refused(root):
    write(root / "test.csv", HEADER, ("x", "1", "bay", "2"), ("y", "2", "bay", "2.0"))
    refused(root, r"test\.csv: every 'label' is 2, and R²")


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (2.0, 1.0)])
def test_bounds_that_are_no_range_are_refused(root, bounds):
    refused(root, r"dataset\.bounds: must be two finite numbers", error=ConfigError, bounds=bounds)


def test_classes_of_a_regression_are_refused(root):
    refused(root, r"dataset\.classes: the labels of a regression are numbers", error=ConfigError, classes=("a", "b"))


def test_empty_pool_is_left_to_the_check_that_all_data_sets_share(root):
    write(root / "train.csv", HEADER)
    assert load(root).pool.ids == []


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=20))
def test_any_numbers_come_back(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("any")
    # The second column keeps the table from being all alike.
    source = columns(folder, {"b": range(len(values)), "a": [repr(v) for v in values]}, {"b": [0, 1], "a": [0, 1]})
    alike = len(set(values)) == 1

    assert [row[-1] for row in items(source.pool)] == (list(map(float, range(len(values)))) if alike else values)


def test_plain_holdout_takes_a_part_that_no_order_changes():
    ids = [f"row/{number}" for number in range(100)]
    pool, test = holdout.plain(ids, 20)
    backwards = holdout.plain(ids[::-1], 20)[1]

    assert sorted([*pool, *test]) == list(range(100))
    assert (len(test), list(test)) == (20, sorted(test))
    assert {ids[row] for row in test} == {ids[::-1][row] for row in backwards}


def housing(folder: Path, rows: int = 10) -> Path:
    (folder / "california-housing").mkdir()
    lines = ["rooms,near,median_house_value", *(f"{n},{'a' if n % 2 else 'b'},{n}000.0" for n in range(rows))]
    (folder / "california-housing" / "housing.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return folder


def california(root: Path, **settings) -> Source:
    config = DatasetConfig(name="california_housing", **settings)
    return registry.resolve(registry.DATASETS, "california_housing")(config, [root])


def test_california_housing_holds_a_fifth_out(tmp_path):
    source = california(housing(tmp_path))
    positions = [int(uri.partition("#")[2]) for uri in source.test.uris]

    assert (len(source.pool.ids), len(source.test.ids)) == (8, 2)
    assert source.task == Regression("median_house_value", None)
    assert source.test.labels.tolist() == [1000 * position for position in positions]
    assert [row[0] for row in items(source.test)] == positions
    assert source.test.ids == [f"california_housing/{position}" for position in positions]


def test_fault_in_a_part_of_a_file_is_named_by_its_row_there(tmp_path):
    folder = housing(tmp_path)
    path = folder / "california-housing" / "housing.csv.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"9000.0", b"many")))

    with pytest.raises(DataError, match=r"housing\.csv\.gz: row 10 \(line 11\): label 'many' is not a number"):
        california(folder)


def test_california_housing_without_its_file_or_with_its_target_as_a_feature_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"california_housing: no california-housing/housing\.csv\.gz in "):
        california(tmp_path)
    with pytest.raises(ConfigError, match=r"dataset\.features: 'median_house_value' holds the labels"):
        california(housing(tmp_path), features=("rooms", "median_house_value"))


@needs_data
def test_california_housing_is_whole():
    source = california(Path(DATA or ""))

    assert (len(source.pool.ids), len(source.test.ids), source.shape) == (16512, 4128, (14,))
    every = np.concatenate([split.read(np.arange(len(split.ids))) for split in (source.pool, source.test)])
    assert np.isfinite(every).all()
    # Columns: four numbers, total_bedrooms, whether it is missing, three numbers, five categories.
    assert every[:, 5].sum() == 207
    assert (every[:, 9:].sum(axis=1) == 1).all()


def test_a_slip_in_a_column_of_numbers_is_refused_and_makes_no_categories_of_it(tmp_path: Path) -> None:
    rows = [f"{number / 7:.3f},{number}" for number in range(30)]
    (tmp_path / "train.csv").write_text("x,label\n" + "\n".join([*rows, "1O.5,3"]) + "\n")
    (tmp_path / "test.csv").write_text("x,label\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match=r"row 31 \(line 32\): column 'x' has '1O\.5', which is no finite number"):
        table.load(DatasetConfig(name="table", root=str(tmp_path)), [tmp_path], "regression")
