"""The decoded items: found, rebuilt, and never mistaken for others."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import files
from tasks.datasets import digits as digits_module
from tasks.datasets import store
from tasks.errors import DataError
from tests.datasets_helpers import built, image, tree


@pytest.fixture
def digits(tmp_path: Path):
    """A workspace with 100 of scikit-learn's digits."""
    return built(tmp_path / "w", name="digits", limit=100)


@pytest.fixture
def pictures(tmp_path: Path):
    """A workspace on a folder of four images in the pool and two held out."""
    for number, value in enumerate((10, 20, 30, 40)):
        image(tmp_path / "data" / "train" / "ab"[number % 2] / f"{number}.png", value)
    image(tmp_path / "data" / "test" / "a" / "0.png", 50)
    image(tmp_path / "data" / "test" / "b" / "1.png", 60)
    return built(tmp_path / "w", name="folder", root=str(tmp_path / "data"), channels=1, image_size=8)


def _array_file(workspace, split="pool"):
    return store.array_path(workspace, split, store.load_info(workspace).digest)


def test_info_is_the_typed_view_of_pool_json(digits):
    info = store.load_info(digits)

    assert (info.dataset, info.shape, info.dtype, info.items) == ("digits", (1, 8, 8), "uint8", 100)
    assert info.task.classes[3] == "3"


@pytest.mark.parametrize("content", ["[]", "{}", '{"dataset": "digits", "odd": 1}'])
def test_foreign_pool_json_is_refused(digits, content):
    (digits.pool / "pool.json").write_text(content)

    with pytest.raises(DataError, match=r"pool\.json: not what the pool stage writes"):
        store.load_info(digits)


def test_rows_follow_the_asked_order(digits):
    items = store.load_items(digits, "pool")
    wanted = items.ids.take(pa.array([7, 0, 99]))

    for ids in (wanted, wanted.to_pylist(), pa.chunked_array([wanted]), wanted.cast(pa.large_string())):
        assert items.rows(ids).tolist() == [7, 0, 99]
    assert items.rows([]).dtype == np.int64


def test_unknown_id_is_named(digits):
    items = store.load_items(digits, "pool")

    with pytest.raises(DataError, match="'nobody'"):
        items.rows([items.ids[0].as_py(), "nobody", "else"])


def test_items_are_not_decoded_again_after_the_pool_stage(digits, monkeypatch):
    monkeypatch.setattr(digits_module, "load", lambda *args: pytest.fail("decoded again"))

    assert store.load_items(digits, "pool").array.shape == (100, 1, 8, 8)
    assert store.load_items(digits, "test").array.shape == (500, 1, 8, 8)


@pytest.mark.parametrize("split", ["pool", "test"])
def test_items_are_mapped_from_their_file_and_not_copied(digits, split):
    array = store.load_items(digits, split).array

    assert isinstance(array, np.memmap)
    assert not array.flags.writeable
    assert np.array_equal(array, np.load(_array_file(digits, split)))


@given(st.integers(1, 60), st.lists(st.integers(0, 59), max_size=60))
def test_rows_are_the_same_whichever_side_is_hashed(size, asked):
    ids = pa.array([f"x/{number}" for number in range(size)])
    wanted = [number % size for number in asked]

    assert store.Items(ids, np.zeros((size, 1, 1, 1), np.uint8)).rows([f"x/{n}" for n in wanted]).tolist() == wanted


def test_few_rows_of_a_large_pool_take_little_memory():
    ids = pa.array([f"x/{number:07d}" for number in range(300_000)])
    items = store.Items(ids, np.zeros((1, 1, 1, 1), np.uint8))
    pool, before = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        assert items.rows(["x/0299999", "x/0000005"]).tolist() == [299_999, 5]
    finally:
        pa.set_memory_pool(before)

    assert pool.max_memory() < 1_000_000


@pytest.mark.parametrize("damage", ["absent", "cut", "longer", "empty", "text", "shape", "dtype", "pickle"])
def test_array_that_is_not_whole_is_rebuilt(digits, damage):
    path = _array_file(digits)
    before = path.read_bytes()
    path.unlink()
    match damage:
        case "cut":
            path.write_bytes(before[:-1])
        case "longer":
            path.write_bytes(before + b"x")
        case "empty":
            path.touch()
        case "text":
            path.write_text("not an array")
        case "shape":
            with path.open("wb") as stream:
                np.save(stream, np.zeros((99, 1, 8, 8), np.uint8))
        case "dtype":
            with path.open("wb") as stream:
                np.save(stream, np.zeros((100, 1, 8, 8), np.int8))
        case "pickle":
            with path.open("wb") as stream:
                np.save(stream, np.array([{}], object), allow_pickle=True)

    items = store.load_items(digits, "pool")

    assert items.array.shape == (100, 1, 8, 8)
    assert path.read_bytes() == before


def test_items_are_rebuilt_in_a_clone_without_raw_data(pictures):
    expected = store.load_items(pictures, "test").array
    _array_file(pictures, "test").unlink()
    _array_file(pictures).unlink()
    _array_file(pictures).parent.rmdir()

    assert np.array_equal(store.load_items(pictures, "test").array, expected)


def test_changed_image_is_named_on_a_rebuild_and_nothing_is_written(pictures, tmp_path):
    _array_file(pictures).unlink()
    image(tmp_path / "data" / "train" / "b" / "1.png", 21)
    before = tree(pictures.root)

    with pytest.raises(DataError, match=r"item 'train/b/1\.png' is not the one that was there"):
        store.load_items(pictures, "pool")

    assert tree(pictures.root) == before


def test_additional_image_is_refused_on_a_rebuild(pictures, tmp_path):
    _array_file(pictures).unlink()
    image(tmp_path / "data" / "train" / "b" / "9.png", 21)

    with pytest.raises(DataError, match="5 items, not 4"):
        store.load_items(pictures, "pool")


def test_other_shape_is_refused_on_a_rebuild(pictures):
    _array_file(pictures).unlink()
    loop = files.read_json(pictures.loop_file)
    loop["config"]["dataset"]["image_size"] = 4
    files.write_json(pictures.loop_file, loop)

    with pytest.raises(DataError, match=r"shape \(1, 4, 4\), not \(1, 8, 8\)"):
        store.load_items(pictures, "pool")
