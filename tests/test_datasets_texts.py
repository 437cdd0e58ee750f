"""Sets of texts: those of any files, and the published ones."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks import registry
from tasks.config import DatasetConfig
from tasks.datasets.source import Source
from tasks.errors import ConfigError, DataError
from tasks.task_type.classification import Classification
from tests.datasets_helpers import table

DATA = os.environ.get("FRUGAL_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="FRUGAL_DATA is not set")

POOL = [("good", "pos"), ("bad ", " neg"), ("so so", ""), ("", "pos")]
TEST = [("fine", "pos"), ("poor", "neg")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four texts in the pool, the third without a label, and two held out."""
    table(tmp_path / "train.csv", ("text", "label"), *POOL)
    table(tmp_path / "test.csv", ("text", "label"), *TEST)
    return tmp_path


def load(root: Path, name: str = "texts", **settings) -> Source:
    config = DatasetConfig(name=name, root=str(root), **settings)
    return registry.resolve(registry.DATASETS, name)(config, [root])


def texts(split) -> list[str]:
    return split.read(np.arange(len(split.ids)))


def refused(root: Path, match: str, error=DataError, **settings) -> None:
    with pytest.raises(error, match=match) as caught:
        load(root, **settings)
    assert "\n" not in str(caught.value)


def test_texts_stand_in_the_order_of_their_rows(root):
    source = load(root)

    assert (source.task, source.shape, source.kind) == (Classification(("neg", "pos")), (), "texts")
    assert texts(source.pool) == ["good", "bad ", "so so", ""]
    assert source.pool.read(np.array([2, 0])) == ["so so", "good"]
    assert source.pool.ids == ["pool/0", "pool/1", "pool/2", "pool/3"]
    assert source.pool.uris[1] == "train.csv#1"
    assert source.test.ids == ["test/0", "test/1"]
    assert source.pool.labels.dtype == np.int64
    assert source.pool.labels.tolist() == [1, 0, -1, 1]
    assert source.test.labels.tolist() == [1, 0]
    assert source.pool.fields is None


def test_formats_agree(root):
    with (root / "lines.jsonl").open("w") as stream:
        stream.writelines(json.dumps({"text": text or None, "label": label}) + "\n" for text, label in POOL)
    columns = {"text": [text or None for text, _ in POOL], "label": [label or None for _, label in POOL]}
    pq.write_table(pa.table(columns), root / "frame.parquet")
    expected = load(root)

    for name in ("lines", "frame"):
        found = load(root, pool=name)
        assert texts(found.pool) == texts(expected.pool)
        assert found.pool.labels.tolist() == expected.pool.labels.tolist()


def test_several_columns_are_joined_by_one_blank(root):
    rows = [("Title", "body", "pos"), ("", "alone", "neg"), ("Only", "", "pos")]
    table(root / "train.csv", ("title", "body", "label"), *rows)
    table(root / "test.csv", ("body", "title", "label"), ("b", "a", "pos"), ("", "", "neg"))
    source = load(root, text=("title", "body"))

    assert texts(source.pool) == ["Title body", "alone", "Only"]
    assert texts(source.test) == ["a b", ""]


def test_ids_are_the_column_id(root):
    table(root / "train.csv", ("id", "text", "label"), (" a ", "x", "pos"), ("b", "y", "neg"))
    assert load(root).pool.ids == ["a", "b"]

    table(root / "train.csv", ("id", "text", "label"), ("a", "x", "pos"), ("b", "y", "neg"), (" a", "z", "neg"))
    refused(root, r"train\.csv: row 3 \(line 4\): id 'a' stands already in row 1")
    table(root / "train.csv", ("id", "text", "label"), ("a", "x", "pos"), (" ", "y", "neg"))
    refused(root, r"train\.csv: row 2 \(line 3\): blank id")


def test_columns_of_other_names_and_files_without_a_header(root):
    (root / "train.csv").write_text("pos,x\nneg,y\n")
    (root / "test.csv").write_text("neg,z\npos,w\n")
    source = load(root, header=("class", "words"), text=("words",), label="class")

    assert texts(source.test) == ["z", "w"]
    assert source.pool.labels.tolist() == [1, 0]


def test_pool_without_labels_takes_its_classes_from_the_held_out_set(root):
    table(root / "train.csv", ("text",), ("x",), ("y",))
    source = load(root)

    assert source.task == Classification(("neg", "pos"))
    assert source.pool.labels.tolist() == [-1, -1]


def test_class_that_only_the_pool_has_is_refused_unless_it_is_listed(root):
    table(root / "train.csv", ("text", "label"), *POOL, ("what", "odd"), ("else", "odd"))
    refused(root, r"train\.csv: row 5 \(line 6\): class 'odd' is not in .*test\.csv")

    source = load(root, classes=("pos", "neg", "odd"))
    assert source.pool.labels.tolist() == [0, 1, -1, 0, 2, 2]


def test_class_that_only_the_held_out_set_has_is_refused_unless_it_is_listed(root):
    table(root / "test.csv", ("text", "label"), *TEST, ("what", "odd"))
    refused(root, r"test\.csv: row 3 \(line 4\): class 'odd' is not in the pool \(neg, pos\)")
    refused(root, r"class 'odd' is not in dataset\.classes \(pos, neg\)", classes=("pos", "neg"))

    assert load(root, classes=("neg", "odd", "pos")).test.labels.tolist() == [2, 0, 1]


def test_held_out_text_without_a_label_is_refused(root):
    table(root / "test.csv", ("text", "label"), *TEST, ("what", " "))
    refused(root, r"test\.csv: row 3 \(line 4\): no label")


@pytest.mark.parametrize(("name", "column"), [("train", "text"), ("test", "text"), ("test", "label")])
def test_missing_column_is_named_with_its_key(root, name, column):
    known = "label" if column == "text" else "text"
    table(root / f"{name}.csv", ("other", known), ("x", "pos"), ("y", "neg"))
    refused(root, rf"{name}\.csv: no column '{column}'; it has 'other', '{known}'; .*dataset\.{column}")


def test_pool_of_blank_texts_only_is_refused(root):
    table(root / "train.csv", ("text", "label"), ("", "pos"), (" \u3000", "neg"))
    refused(root, r"train\.csv: every text is blank")


def test_empty_pool_is_left_to_the_check_that_all_data_sets_share(root):
    table(root / "train.csv", ("text", "label"))
    assert load(root).pool.ids == []


def test_text_with_nul_is_refused(root):
    pq.write_table(pa.table({"text": ["x", "a\0b"], "label": ["pos", "neg"]}), root / "frame.parquet")
    refused(root, r"frame\.parquet: row 2: the text holds NUL", pool="frame")


def test_text_that_is_not_utf8_is_refused(root):
    (root / "train.csv").write_bytes(b"text,label\nx,pos\n\xe9t\xe9,neg\n")
    refused(root, r"train\.csv: row 2 \(line 3\): not UTF-8")


def test_very_long_text_is_kept(root):
    table(root / "train.csv", ("text", "label"), ("x" * 300_000, "pos"), ("y", "neg"))
    assert len(texts(load(root).pool)[0]) == 300_000


def test_text_that_holds_the_label_is_refused(root):
    refused(root, r"dataset\.text: 'label' holds the labels", error=ConfigError, text=("text", "label"))


def test_bounds_of_classes_are_refused(root):
    refused(root, r"dataset\.bounds: classes have no bounds", error=ConfigError, bounds=(0.0, 1.0))


def test_files_that_are_ambiguous_missing_outside_or_the_same_are_refused(root):
    (root / "train.jsonl").touch()
    refused(root, r"dataset\.pool: .* holds train\.csv and train\.jsonl")
    refused(root, r"texts: no more\.csv or .*more\.parquet in ", pool="more")
    refused(root, r"more\.csv: no such file", pool="train.csv", test="more")
    refused(root, r"dataset\.test: path .* leads out of", pool="train.csv", test="../test.csv")
    refused(root, r"dataset\.test: .*train\.csv is the pool as well", pool="train.csv", test="train.csv")


def reviews(folder: Path, labels=(1, 2)) -> None:
    """A few reviews as they are published."""
    folder.mkdir()
    rows = [f'"{label}","Great ""CD""","Line one\\nline {label}, end"\n' for label in labels]
    for part in ("train", "test"):
        (folder / f"{part}.csv").write_text("".join(rows))


def test_amazon_reviews_are_read_as_published(tmp_path):
    reviews(tmp_path / "amazon_review_polarity_csv")
    source = load(tmp_path, "amazon_polarity")

    assert source.task == Classification(("negative", "positive"))
    assert texts(source.pool) == ['Great "CD" Line one\nline 1, end', 'Great "CD" Line one\nline 2, end']
    assert source.pool.labels.tolist() == [0, 1]
    assert source.pool.ids == ["train/0", "train/1"]
    assert source.test.uris == ["amazon_review_polarity_csv/test.csv#0", "amazon_review_polarity_csv/test.csv#1"]


def test_stars_of_amazon_reviews_are_classes_in_order(tmp_path):
    reviews(tmp_path / "amazon_review_full_csv", labels=(5, 1, 3))
    source = load(tmp_path, "amazon_full")

    assert source.pool.labels.tolist() == [4, 0, 2]
    assert source.task.classes[0] == "1 star"
    assert source.task.classes[4] == "5 stars"


def test_label_that_a_published_set_does_not_have_is_refused(tmp_path):
    reviews(tmp_path / "amazon_review_polarity_csv", labels=(1, 3))
    match = r"train\.csv: row 2 \(line 2\): class '3' is not in the data set's \(1, 2\)"
    refused(tmp_path, match, name="amazon_polarity")


@pytest.mark.parametrize("name", ["imdb", "sst2", "amazon_polarity", "amazon_full"])
def test_absent_set_is_one_line(tmp_path, name):
    refused(tmp_path, rf"{name}: no .*train.* and .* in {tmp_path}; .*FRUGAL_DATA", name=name)


def test_published_set_is_found_in_any_place(tmp_path):
    for part in ("train", "test"):
        (tmp_path / "second" / "imdb").mkdir(parents=True, exist_ok=True)
        columns = {"text": [f"{part} x", "y"], "label": pa.array([1, 0], pa.int8()), "id": [0, 0]}
        pq.write_table(pa.table(columns), tmp_path / "second" / "imdb" / f"{part}.parquet")
    resolved = registry.resolve(registry.DATASETS, "imdb")
    source = resolved(DatasetConfig(name="imdb"), [tmp_path / "first", tmp_path / "second"])

    assert texts(source.pool) == ["train x", "y"]
    assert source.pool.ids == ["train/0", "train/1"]
    assert source.test.labels.tolist() == [1, 0]


@needs_data
@pytest.mark.parametrize(
    ("name", "counts", "share", "first"),
    [
        ("imdb", (25_000, 25_000), 0.5, ("train/00000", "test/00000")),
        ("sst2", (67_349, 872), 37_569 / 67_349, ("train/00000", "dev/000")),
    ],
)
def test_published_sets_are_whole(name, counts, share, first):
    source = load(Path(DATA or ""), name)

    assert (len(source.pool.ids), len(source.test.ids)) == counts
    assert (source.pool.ids[0], source.test.ids[0]) == first
    assert source.task == Classification(("negative", "positive"))
    assert source.pool.labels.mean() == share
    assert all(texts(source.test))


@needs_data
def test_positive_reviews_are_the_positive_ones():
    # The ratings were not read: 7 to 10 stars are positive, 1 to 4 negative.
    ratings = pq.read_table(Path(DATA or "") / "imdb" / "train.parquet")["rating"].to_numpy()

    assert ((ratings >= 7) == (load(Path(DATA or ""), "imdb").pool.labels == 1)).all()
