"""Images in folders, and every way in which they can be wrong."""

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks import files
from tasks.datasets import folder, opening, store
from tasks.errors import DataError
from tests.datasets_helpers import begun, built, configuration, image, pixels, refused


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of two images each in the pool, one each held out."""
    folder = tmp_path / "data"
    for number, name in enumerate(["train/cat/b.png", "train/cat/a.PNG", "train/dog/c.bmp", "train/dog/d.webp"]):
        image(folder / name, 10 * number)
    image(folder / "test/cat/e.png", 50)
    image(folder / "test/dog/f.png", 60)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, root: Path):
    """A workspace whose loop has begun on that folder."""
    return begun(tmp_path / "w", name="folder", root=str(root))


def settings(root: Path, **more):
    return {"name": "folder", "root": str(root), "channels": 1, "image_size": 4, **more}


def pool_ids(workspace):
    return pq.read_table(workspace.pool / "manifest.parquet")["id"].to_pylist()


def test_ids_are_sorted_paths_inside_the_root(tmp_path, root):
    workspace = built(tmp_path / "w", **settings(root))

    assert pool_ids(workspace) == ["train/cat/a.PNG", "train/cat/b.png", "train/dog/c.bmp", "train/dog/d.webp"]
    assert pq.read_table(workspace.pool / "test.parquet")["label"].to_pylist() == [0, 1]
    assert files.read_json(workspace.pool / "pool.json")["classes"] == ["cat", "dog"]


def test_items_stand_in_the_order_of_their_ids(tmp_path, root):
    workspace = built(tmp_path / "w", **settings(root))

    assert (store.load_items(workspace, "pool").array[:3] == pixels(10, 0, 20)).all()


def test_image_directly_in_the_pool_has_no_label(tmp_path, root):
    image(root / "train" / "unknown.png")
    workspace = built(tmp_path / "w", **settings(root))

    assert pool_ids(workspace)[-1] == "train/unknown.png"
    assert pq.read_table(workspace.pool / "oracle.parquet").num_rows == 4
    assert files.read_json(workspace.pool / "pool.json")["known_labels"] == 4


def test_unlabelled_pool_takes_its_classes_from_the_held_out_set(tmp_path, root):
    image(root / "new" / "1.png")
    workspace = built(tmp_path / "w", **settings(root, pool="new"))

    assert files.read_json(workspace.pool / "pool.json")["classes"] == ["cat", "dog"]
    assert pq.read_table(workspace.pool / "oracle.parquet").num_rows == 0


def test_given_classes_set_the_order(tmp_path, root):
    workspace = built(tmp_path / "w", **settings(root, classes=["dog", "cat", "cow"]))

    assert pq.read_table(workspace.pool / "test.parquet")["label"].to_pylist() == [1, 0]


def test_other_files_and_hidden_ones_are_passed_over(tmp_path, root):
    (root / "train" / "cat" / "notes.txt").write_text("x")
    (root / "train" / ".cache").mkdir()
    (root / "train" / "cat" / ".hidden.png").write_text("x")

    assert len(pool_ids(built(tmp_path / "w", **settings(root)))) == 4


def test_link_that_stays_inside_is_followed(tmp_path, root):
    (root / "train" / "cat" / "link.png").symlink_to("../dog/c.bmp")

    assert "train/cat/link.png" in pool_ids(built(tmp_path / "w", **settings(root)))


def test_relative_root_belongs_to_the_workspace(tmp_path, root):
    root.rename(tmp_path / "inside")

    assert len(pool_ids(built(tmp_path / "w", **settings(Path("../inside"))))) == 4


def test_root_is_looked_for_in_the_data_folder_of_the_environment(tmp_path, root, monkeypatch):
    monkeypatch.setenv("FRUGAL_DATA", str(root))
    workspace = built(tmp_path / "w", name="folder", channels=1, image_size=4)

    assert len(pool_ids(workspace)) == 4


def test_given_root_hides_the_environment(tmp_path, root, monkeypatch):
    monkeypatch.setenv("FRUGAL_DATA", str(tmp_path))

    places = opening.places(begun(tmp_path / "w"), configuration(root=str(root)).dataset)

    assert places == [root, tmp_path / "w" / "data" / "raw"]


def test_missing_pool_folder_is_refused(workspace, root):
    refused(workspace, r"folder: no nowhere in .*data; set dataset\.root", **settings(root, pool="nowhere"))


def test_missing_test_folder_is_refused(workspace, root):
    refused(workspace, r"dataset\.test: no folder 'nowhere'", **settings(root, test="nowhere"))


def test_empty_pool_is_refused(workspace, root):
    (root / "empty").mkdir()
    refused(workspace, "no items in the pool", **settings(root, pool="empty"))


def test_one_class_alone_is_refused(workspace, root):
    image(root / "one" / "cat" / "1.png")
    refused(workspace, "two classes or more, found cat", **settings(root, pool="one", test="one"))


def test_the_same_folder_for_both_is_refused(workspace, root):
    refused(workspace, r"id 'train/cat/a\.PNG' stands 2 times", **settings(root, test="train"))


def test_class_of_the_held_out_set_that_the_pool_lacks_is_refused(workspace, root):
    (root / "test" / "zebra").mkdir()
    refused(workspace, r"test/zebra: class 'zebra' is not in the pool \(cat, dog\)", **settings(root))


def test_class_folder_outside_the_given_classes_is_refused(workspace, root):
    refused(workspace, r"train/dog: class 'dog' is not in dataset\.classes", **settings(root, classes=["cat", "cow"]))


def test_class_given_twice_is_refused(workspace, root):
    refused(workspace, "a class stands twice", **settings(root, classes=["cat", "dog", "cat"]))


def test_held_out_image_without_a_class_is_refused(workspace, root):
    image(root / "test" / "g.png")
    refused(workspace, r"test/g\.png: no label", **settings(root))


def test_limit_takes_of_every_class_though_ids_are_sorted_by_class(tmp_path, root):
    for name in ("cat", "dog"):
        for number in range(20):
            image(root / "many" / name / f"{number:02d}.png", number)
    workspace = built(tmp_path / "w", **settings(root, pool="many", limit=10))

    assert len(pool_ids(workspace)) == 10
    assert {id_.split("/")[1] for id_ in pool_ids(workspace)} == {"cat", "dog"}
    kept = [int(id_[-6:-4]) for id_ in pool_ids(workspace)]
    assert (store.load_items(workspace, "pool").array == pixels(*kept)).all()


@pytest.mark.parametrize("name", ["cow ", " cow", "cow\u00a0"])
def test_class_folder_with_outer_spaces_is_refused(workspace, root, name):
    image(root / "train" / name / "g.png")
    refused(workspace, rf"train/{name}: class '.*cow.*' begins or ends with white space", **settings(root))


def test_id_with_outer_spaces_is_refused(workspace, root):
    (root / "train").rename(root / " train")
    message = r"id ' train/cat/a\.PNG' begins or ends with white space"
    refused(workspace, message, **settings(root, pool=" train"))


def test_given_class_with_outer_spaces_is_refused(workspace, root):
    message = "class 'cow ' begins or ends with white space"
    refused(workspace, message, **settings(root, classes=["cat", "dog", "cow "]))


def test_folder_inside_a_class_folder_is_refused(workspace, root):
    image(root / "train" / "cat" / "more" / "g.png")
    refused(workspace, r"cat/more: a folder inside a class folder", **settings(root))


def test_truncated_image_is_refused(workspace, root):
    path = root / "train" / "dog" / "c.bmp"
    path.write_bytes(path.read_bytes()[:-20])
    refused(workspace, r"train/dog/c\.bmp: not a readable image", **settings(root))


def test_file_that_is_no_image_is_refused(workspace, root):
    (root / "test" / "cat" / "g.png").write_text("hello")
    refused(workspace, r"test/cat/g\.png: not a readable image", **settings(root))


@pytest.mark.parametrize("pool", ["../data/../outside", "train/../../outside"])
def test_pool_folder_outside_the_root_is_refused(workspace, root, pool):
    image(root.parent / "outside" / "cat" / "1.png")
    refused(workspace, r"dataset\.pool: path .* leads out of", **settings(root, pool=pool))


def test_absolute_pool_folder_is_refused(workspace, root):
    refused(workspace, "is absolute", **settings(root, pool=str(root / "train")))


@pytest.mark.parametrize("link", ["train/cat/x.png", "train/x.png"])
def test_link_to_a_file_outside_is_refused(workspace, root, link):
    image(root.parent / "secret.png")
    (root / link).symlink_to(root.parent / "secret.png")
    refused(workspace, rf"{link}: path .* leads out of", **settings(root))


def test_link_to_a_folder_outside_is_refused(workspace, root):
    image(root.parent / "outside" / "1.png")
    (root / "train" / "cow").symlink_to(root.parent / "outside")
    refused(workspace, r"train/cow: path .* leads out of", **settings(root))


def test_broken_link_is_refused(workspace, root):
    (root / "train" / "cat" / "x.png").symlink_to("nothing.png")
    refused(workspace, r"train/cat/x\.png: no such image file", **settings(root))


def test_name_that_is_not_utf8_is_refused(workspace, root):
    Path(f"{root}/train/cat/\udcff.png").write_bytes(b"x")
    refused(workspace, "is not valid UTF-8", **settings(root))


def test_pipe_among_the_images_is_refused_and_not_waited_for(tmp_path):
    root = tmp_path / "d"
    for part in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (root / part).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(root / part / "a.png")
    os.mkfifo(root / "train/cat/b.png")
    with pytest.raises(DataError, match=r"b\.png: not a regular file"):
        folder.load(configuration(name="folder", root=str(root)).dataset, [root])


def test_pool_key_may_not_climb(tmp_path):
    (tmp_path / "d" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match=r"dataset\.pool: '\.\./d/train' must name a folder inside"):
        folder.load(configuration(name="folder", pool="../d/train").dataset, [tmp_path / "d"])
