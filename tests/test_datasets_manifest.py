"""Manifests, and every way in which they can be wrong."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks import files
from tasks.datasets import store
from tests.datasets_helpers import begun, built, image, pixels, refused, table, tree

HEADER = ("path", "id", "label")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images in the pool, the third without a label, and two held out."""
    folder = tmp_path / "data"
    for number in range(5):
        image(folder / "images" / f"{number}.png", 10 * number)
    rows = [("images/2.png", "c", "1"), ("images/1.png", "b", "10"), ("images/0.png", "a", "")]
    table(folder / "train.csv", HEADER, *rows)
    table(folder / "test.csv", HEADER, ("images/3.png", "d", "10"), ("images/4.png", "e", "1"))
    return folder


@pytest.fixture
def workspace(tmp_path: Path, root: Path):
    """A workspace whose loop has begun on those manifests."""
    return begun(tmp_path / "w", name="manifest", root=str(root))


def settings(root: Path, **more):
    return {"name": "manifest", "root": str(root), "channels": 1, "image_size": 4, **more}


def pool_of(workspace):
    return pq.read_table(workspace.pool / "manifest.parquet").select(["id", "uri"]).to_pydict()


def oracle_of(workspace):
    return pq.read_table(workspace.pool / "oracle.parquet").to_pydict()


def test_items_stand_in_the_order_of_the_rows(tmp_path, root):
    workspace = built(tmp_path / "w", **settings(root))

    assert pool_of(workspace) == {"id": ["c", "b", "a"], "uri": ["images/2.png", "images/1.png", "images/0.png"]}
    items = store.load_items(workspace, "pool")
    assert items.ids.to_pylist() == ["a", "b", "c"]
    assert (items.array == pixels(0, 10, 20)).all()


def test_labels_stay_text_and_blank_ones_are_unknown(tmp_path, root):
    workspace = built(tmp_path / "w", **settings(root))

    assert files.read_json(workspace.pool / "pool.json")["classes"] == ["1", "10"]
    assert oracle_of(workspace) == {"id": ["c", "b"], "label": [0, 1]}


def test_id_defaults_to_the_path(tmp_path, root):
    table(root / "train.csv", ("label", "path"), ("1", "images/0.png"), ("10", "images/1.png"))

    assert pool_of(built(tmp_path / "w", **settings(root)))["id"] == ["images/0.png", "images/1.png"]


def test_unlabelled_pool_takes_its_classes_from_the_held_out_set(tmp_path, root):
    table(root / "train.csv", ("path",), ("images/0.png",))
    workspace = built(tmp_path / "w", **settings(root))

    assert files.read_json(workspace.pool / "pool.json")["classes"] == ["1", "10"]
    assert oracle_of(workspace) == {"id": [], "label": []}


def test_parquet_from_pandas_with_gaps_gives_the_same_pool_as_csv(tmp_path, root):
    expected = built(tmp_path / "csv", **settings(root))
    frame = pd.DataFrame({"path": [f"images/{n}.png" for n in (2, 1, 0)], "id": list("cba"), "label": [1, 10, None]})
    frame.to_parquet(root / "pool.parquet")

    workspace = built(tmp_path / "parquet", **settings(root, pool="pool.parquet"))

    assert tree(workspace.pool) == tree(expected.pool)


def test_categories_and_whole_numbers_are_read_as_text(tmp_path, root):
    frame = pd.DataFrame({"path": ["images/0.png", "images/1.png"], "id": [7, 8], "label": ["1", "10"]})
    frame["label"] = frame["label"].astype("category")
    frame.to_parquet(root / "pool.parquet")
    workspace = built(tmp_path / "w", **settings(root, pool="pool.parquet"))

    assert pool_of(workspace)["id"] == ["7", "8"]
    assert oracle_of(workspace)["label"] == [0, 1]


def test_csv_of_a_spreadsheet_is_read(tmp_path, root):
    lines = ["path, id, label", "images/0.png, a, 1", "", '"images/1.png","b, or ""B""",10', ""]
    (root / "train.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))

    assert pool_of(built(tmp_path / "w", **settings(root)))["id"] == ["a", 'b, or "B"']


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_spaces_around_fields_do_not_count(tmp_path, root, ending):
    rows = [("images/2.png ", " c", "1\t"), ("images/1.png", "b ", "10\u00a0"), ("images/0.png", "a", " ")]
    expected = built(tmp_path / "expected", **settings(root))
    if ending == ".csv":
        table(root / "spaced.csv", HEADER, *rows)
    else:
        pd.DataFrame(rows, columns=list(HEADER)).to_parquet(root / "spaced.parquet")

    assert tree(built(tmp_path / "w", **settings(root, pool=f"spaced{ending}")).pool) == tree(expected.pool)


def test_ids_that_differ_by_spaces_only_are_refused(workspace, root):
    table(root / "train.csv", HEADER, ("images/0.png", "a", "1"), ("images/1.png", "a ", "1"))
    refused(workspace, r"row 2 \(line 3\): id 'a' stands already in row 1", **settings(root))


def test_dots_that_stay_inside_are_followed(tmp_path, root):
    table(root / "train.csv", HEADER, ("images/../images/./0.png", "a", "1"), ("images/1.png", "b", "10"))

    assert pool_of(built(tmp_path / "w", **settings(root)))["id"] == ["a", "b"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("images/0.png", "a", "1"), ("", "b", "1")], r"train\.csv: row 2 \(line 3\): blank path"),
        ([("images/0.png", "a", "1"), ("images/1.png", " ", "1")], r"row 2 \(line 3\): blank id"),
        (
            [("images/0.png", "a", "1"), ("images/1.png", "b", "1"), ("images/2.png", "a", "1")],
            r"row 3 \(line 4\): id 'a' stands already in row 1",
        ),
        ([("images/9.png", "a", "1")], r"row 1 \(line 2\): no file 'images/9\.png'"),
        ([("images", "a", "1")], r"row 1 \(line 2\): no file 'images'"),
        ([("images/0.png", "a", "1"), ("images/1.png",)], r"row 2 \(line 3\): 1 fields where the header has 3"),
        ([("images/0.png", "a", "1", "x")], r"row 1 \(line 2\): 4 fields where the header has 3"),
        ([("/etc/hostname", "a", "1")], r"row 1 \(line 2\): path '/etc/hostname' is absolute"),
        ([("../secret.png", "a", "1")], r"row 1 \(line 2\): path '\.\./secret\.png' leads out of"),
        ([("images/../../secret.png", "a", "1")], r"row 1 \(line 2\): path .* leads out of"),
        ([("..", "a", "1")], r"row 1 \(line 2\): path '\.\.' leads out of"),
        ([("link.png", "a", "1")], r"row 1 \(line 2\): path 'link\.png' leads out of"),
        ([("linked/secret.png", "a", "1")], r"row 1 \(line 2\): path 'linked/secret\.png' leads out of"),
        ([("damaged.png", "a", "1"), ("images/1.png", "b", "10")], r"row 1 \(line 2\): not a readable image"),
        ([("cut.png", "a", "1"), ("images/1.png", "b", "10")], r"row 1 \(line 2\): not a readable image"),
        (
            [("images/0.png", "d", "1"), ("images/1.png", "b", "10")],
            r"id 'd' stands 2 times in the pool and the held-out set",
        ),
        ([], "no items in the pool"),
        ([("images/0.png", "a", "2")], r"test\.csv: row 1 \(line 2\): class '10' is not in the pool \(2\)"),
    ],
)
def test_row_at_fault_is_named(workspace, root, rows, message):
    image(root.parent / "secret.png")
    (root / "link.png").symlink_to(root.parent / "secret.png")
    (root / "linked").symlink_to(root.parent)
    (root / "damaged.png").write_text("not an image")
    (root / "cut.png").write_bytes((root / "images" / "0.png").read_bytes()[:40])
    table(root / "train.csv", HEADER, *rows)

    refused(workspace, message, **settings(root))


def test_class_outside_the_given_ones_is_refused(workspace, root):
    message = r"train\.csv: row 2 \(line 3\): class '10' is not in dataset\.classes \(1, 2\)"
    refused(workspace, message, **settings(root, classes=["1", "2"]))


def test_held_out_row_without_a_label_is_refused(workspace, root):
    table(root / "test.csv", HEADER, ("images/3.png", "d", "1"), ("images/4.png", "e", ""))
    refused(workspace, r"test\.csv: row 2 \(line 3\): no label", **settings(root))


@pytest.mark.parametrize(("name", "column"), [("train", "path"), ("test", "path"), ("test", "label")])
def test_missing_column_is_refused(workspace, root, name, column):
    header = [known for known in HEADER if known != column]
    table(root / f"{name}.csv", header, ["x"] * len(header))
    refused(workspace, rf"{name}\.csv: no column '{column}'; it has ", **settings(root))


def test_column_that_stands_twice_is_refused(workspace, root):
    table(root / "train.csv", ("path", "label", "label"), ("images/0.png", "1", "1"))
    refused(workspace, r"train\.csv: column 'label' stands twice", **settings(root))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"train\.csv: empty"),
        (b"path,label\nimages/0.png,1\nimages/1.png,\xff\n", r"train\.csv: row 2 \(line 3\): not UTF-8"),
        ("path,label\nimages/0.png,1\n".encode("utf-16"), r"train\.csv: row 0 \(line 1\): not UTF-8"),
        (b'path,label\nimages/0.png,1\n"images/1.png', r"train\.csv: row 2 \(line 3\): not valid CSV"),
        (b"path,label\nimages/\x000.png,1\n", r"train\.csv: row 1"),
    ],
)
def test_damaged_csv_is_refused(workspace, root, content, message):
    (root / "train.csv").write_bytes(content)
    refused(workspace, message, **settings(root))


def test_truncated_parquet_is_refused(workspace, root):
    path = root / "pool.parquet"
    pq.write_table(pa.table({"path": ["images/0.png"], "label": ["1"]}), path)
    path.write_bytes(path.read_bytes()[:-6])
    refused(workspace, r"pool\.parquet: not a readable Parquet file", **settings(root, pool="pool.parquet"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": ["1"]}, r"pool\.parquet: no column 'path'; it has 'label'"),
        ({"path": ["images/0.png", None]}, r"pool\.parquet: row 2: blank path"),
        ({"path": ["images/0.png", "images/9.png"]}, r"pool\.parquet: row 2: no file"),
        ({"path": ["images/\x000.png"]}, r"pool\.parquet: row 1: path .* NUL"),
        ({"path": ["images/0.png"], "label": [1.5]}, r"pool\.parquet: column 'label' cannot be read as text"),
        ({"path": ["images/0.png"], "label": [["1"]]}, r"pool\.parquet: column 'label' cannot be read as text"),
        ({"path": [b"images/\xff.png"]}, r"pool\.parquet: column 'path' cannot be read as text"),
    ],
)
def test_faults_of_parquet_are_named(workspace, root, columns, message):
    pq.write_table(pa.table(columns), root / "pool.parquet")
    refused(workspace, message, **settings(root, pool="pool.parquet"))


def test_missing_manifest_is_refused(workspace, root):
    refused(workspace, r"manifest: no more\.csv or more\.parquet in ", **settings(root, pool="more"))
    refused(workspace, r"more\.csv: no such file", **settings(root, test="more"))


def test_manifest_in_both_formats_is_refused(workspace, root):
    (root / "train.parquet").touch()
    message = r"dataset\.pool: .* holds train\.csv and train\.parquet"
    refused(workspace, message, **settings(root))


def test_manifest_outside_the_root_is_refused(workspace, root):
    table(root.parent / "other.csv", HEADER, ("images/0.png", "a", "1"))
    refused(workspace, r"dataset\.pool: path .* leads out of", **settings(root, pool="../other.csv"))
