"""Items on disk: numbers and texts as they were, and never mistaken for others."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.datasets import arrays, kept, texts
from tasks.datasets.source import Decoded, Kind, Split
from tasks.datasets.texts import Texts

TEXTS = ["good", "", "naïve 中文 🙂", "two\nlines\0", "good"]
ROWS = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


def split(items: Any) -> Split:
    ids = [f"i{number}" for number in range(len(items))]

    def read(rows: Any) -> Any:
        return items[rows] if isinstance(items, np.ndarray) else [items[row] for row in rows]

    return Split(ids, ids, np.zeros(len(items), np.int64), read)


def written(path: Path, kind: Kind, order: list[int] | None = None, items: Any = None) -> Decoded:
    items = {"texts": TEXTS, "numbers": ROWS}[kind] if items is None else items
    rows = np.array(range(len(items)) if order is None else order, np.int64)
    return kept.write(path, kind, split(items), () if kind == "texts" else items.shape[1:], rows)


def opened(path: Path, kind: Kind, count: int = 5) -> Any:
    return kept.open_whole(path, kind, count, () if kind == "texts" else (3,))


@pytest.fixture(params=["texts", "numbers"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


def listed(items: Any) -> list[Any]:
    return items.tolist()


def test_items_come_back_in_the_order_asked_for(tmp_path: Path, kind: Kind) -> None:
    order = [3, 0, 4, 2, 1]
    written(tmp_path / "file", kind, order)
    found, expected = opened(tmp_path / "file", kind), TEXTS if kind == "texts" else ROWS.tolist()
    assert len(found) == 5
    assert listed(found) == [expected[row] for row in order]
    assert listed(found[np.array([4, 0, 4])]) == [expected[order[row]] for row in (4, 0, 4)]
    assert isinstance(found[np.array([0])], Texts if kind == "texts" else np.ndarray)


def test_hashes_are_those_of_the_items_in_the_order_of_the_split(tmp_path: Path) -> None:
    decoded = written(tmp_path / "texts", "texts", [3, 0, 4, 2, 1])
    assert decoded.sha256 == [hashlib.sha256(text.encode()).hexdigest() for text in TEXTS]
    decoded = written(tmp_path / "numbers", "numbers", [3, 0, 4, 2, 1])
    assert decoded.sha256 == [hashlib.sha256(row.tobytes()).hexdigest() for row in ROWS]


def test_numbers_have_statistics_and_texts_have_none(tmp_path: Path) -> None:
    decoded = written(tmp_path / "numbers", "numbers")
    assert decoded.mean == pytest.approx(ROWS.astype(np.float64).mean(axis=0), rel=1e-12)
    assert decoded.std == pytest.approx(ROWS.astype(np.float64).std(axis=0), rel=1e-12)
    decoded = written(tmp_path / "texts", "texts")
    assert (decoded.mean, decoded.std) == ([], [])


@given(st.integers(1, 60), st.integers(1, 20), st.floats(0, 1e6))
def test_statistics_do_not_depend_on_how_the_items_are_cut(
    tmp_path_factory: pytest.TempPathFactory, count: int, chunk: int, offset: float
) -> None:
    rows = (offset + np.random.default_rng(count).standard_normal((count, 2))).astype(np.float32)
    path = tmp_path_factory.getbasetemp() / "cut.npy"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "_CHUNK_BYTES", chunk * 8)
        decoded = written(path, "numbers", items=rows)
    assert np.array_equal(np.load(path), rows)
    assert decoded.mean == pytest.approx(rows.astype(np.float64).mean(axis=0), rel=1e-9, abs=1e-9)
    assert decoded.std == pytest.approx(rows.astype(np.float64).std(axis=0), rel=1e-9, abs=1e-9)


def test_equal_items_give_equal_bytes(tmp_path: Path, kind: Kind) -> None:
    for name in ("one", "other"):
        written(tmp_path / name, kind)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize("damage", ["absent", "cut", "half", "longer", "empty", "foreign", "folder"])
def test_what_is_not_whole_is_not_opened(tmp_path: Path, kind: Kind, damage: str) -> None:
    path = tmp_path / "file"
    written(path, kind)
    before = path.read_bytes()
    path.unlink()
    match damage:
        case "cut":
            path.write_bytes(before[:-1])
        case "half":
            path.write_bytes(before[: len(before) // 2])
        case "longer":
            path.write_bytes(before + b"x")
        case "empty":
            path.touch()
        case "foreign":
            path.write_text("neither of the two")
        case "folder":
            path.mkdir()
    assert opened(path, kind) is None


@pytest.mark.parametrize("count", [4, 6])
def test_a_file_of_another_number_of_items_is_not_opened(tmp_path: Path, kind: Kind, count: int) -> None:
    written(tmp_path / "file", kind)
    assert opened(tmp_path / "file", kind, count) is None


def test_a_file_of_something_else_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "double.npy", ROWS.astype(np.float64))
    np.save(tmp_path / "bytes.npy", ROWS.astype(np.uint8))
    for name in ("double.npy", "bytes.npy"):
        assert opened(tmp_path / name, "numbers") is None
    for name, values in (("word", pa.array(TEXTS, pa.large_string())), ("text", pa.array(TEXTS, pa.string()))):
        table = pa.table({name: values})
        with pa.ipc.new_file(str(tmp_path / "other.arrow"), table.schema) as writer:
            writer.write_table(table)
        assert opened(tmp_path / "other.arrow", "texts") is None


def test_numbers_are_mapped_read_only(tmp_path: Path) -> None:
    written(tmp_path / "numbers", "numbers")
    found = opened(tmp_path / "numbers", "numbers")
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    assert found.dtype == np.float32


def test_read_that_gives_other_than_it_said_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"read gave float64 \(5, 3\), not float32 \(5, 3\)"):
        written(tmp_path / "numbers", "numbers", items=ROWS.astype(np.float64))


def utf8(found: Texts) -> list[str]:
    """Texts by their buffers."""
    offsets, data = found.buffers()
    assert (offsets.dtype, data.dtype) == (np.int64, np.uint8)
    return [data[offsets[row] : offsets[row + 1]].tobytes().decode() for row in range(len(found))]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=12), st.integers(1, 5))
def test_texts_of_several_parts_are_one(
    tmp_path_factory: pytest.TempPathFactory, given_: list[str], chunk: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "parts.arrow"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_CHUNK", chunk)
        written(path, "texts", items=given_)
    found = opened(path, "texts", len(given_))
    assert found.tolist() == utf8(found) == given_
    rows = np.arange(len(given_), dtype=np.int64)[::-1]
    assert found[rows].tolist() == utf8(found[rows]) == given_[::-1]
    assert Texts.of(given_).tolist() == given_


def test_no_texts_are_texts_too() -> None:
    assert utf8(Texts.of([])) == []
    some = Texts.of(TEXTS)[np.array([], np.int64)]
    assert (len(some), some.tolist(), utf8(some)) == (0, [], [])
