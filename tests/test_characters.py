"""Texts as rows of characters."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.datasets.texts import Texts
from tasks.models import characters
from tasks.models.characters import ALPHABET, PADDING, TOKENS, UNKNOWN, CharacterEncoding

#: No halves of surrogate pairs, which UTF-8 does not have.
WRITABLE = st.characters(exclude_categories=["Cs"])
SOME_TEXTS = st.lists(st.text(WRITABLE | st.sampled_from("aAzZ09 -{}\\@\n\0é€😀İK"), max_size=40), max_size=12)


def slowly(text: str, length: int) -> list[int]:
    """Character by character."""
    lowered = [character.lower() if character.isascii() else character for character in text[:length]]
    numbers = [2 + ALPHABET.index(character) if character in ALPHABET else UNKNOWN for character in lowered]
    return numbers + [PADDING] * (length - len(numbers))


def encode(folder: Path, texts: Texts, length: int) -> np.ndarray:
    """Written and opened again."""
    encoding, path = CharacterEncoding(length), folder / "encoded.npy"
    encoding.write(path, texts, texts)
    encoded = encoding.open(path)
    assert encoded is not None
    assert encoded.dtype == np.uint8
    assert encoded.shape == (len(texts), length)
    return np.array(encoded)


def test_dictionary_has_69_tokens() -> None:
    assert TOKENS == len(set(ALPHABET)) + 2 == 69


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=SOME_TEXTS, length=st.integers(1, 50))
def test_every_text_is_encoded_character_by_character(tmp_path, texts, length) -> None:
    encoded = encode(tmp_path, Texts.of(texts), length)
    assert encoded.tolist() == [slowly(text, length) for text in texts]


def test_known_text_becomes_known_numbers(tmp_path) -> None:
    [row] = encode(tmp_path, Texts.of(["Ab9 é!"]), 8)
    assert row.tolist() == [2, 3, 37, 68, UNKNOWN, 42, PADDING, PADDING]


@pytest.mark.parametrize("character", ["é", "€", "😀", "\n", "\0", "@", "\\"])
def test_unknown_character_takes_one_place_however_many_bytes_it_has(tmp_path, character) -> None:
    [row] = encode(tmp_path, Texts.of([character * 2 + "a" + character * 30]), 5)
    assert row.tolist() == [UNKNOWN, UNKNOWN, 2, UNKNOWN, UNKNOWN]


def test_some_rows_of_texts_are_encoded_as_on_their_own(tmp_path) -> None:
    texts = Texts.of(["one", "", "zwei €", "tres"])
    encoded = encode(tmp_path, texts, 6)
    rows = np.array([3, 2, 1])
    np.testing.assert_array_equal(encode(tmp_path, texts[rows], 6), encoded[rows])


def test_chunks_leave_no_trace(tmp_path, monkeypatch) -> None:
    texts = Texts.of([f"text {number} é" for number in range(11)])
    whole = encode(tmp_path, texts, 10)
    monkeypatch.setattr(characters, "_CHUNK_BYTES", 30)
    np.testing.assert_array_equal(encode(tmp_path, texts, 10), whole)


def test_key_names_the_length_and_nothing_else_matters() -> None:
    assert (CharacterEncoding().key, CharacterEncoding(256).key) == ("characters-v1-1014", "characters-v1-256")
    assert CharacterEncoding(256).shape(None) == (256,)


def test_file_that_is_absent_or_not_whole_is_not_opened(tmp_path) -> None:
    encoding, path = CharacterEncoding(16), tmp_path / "encoded.npy"
    assert encoding.open(path) is None
    encoding.write(path, Texts.of(["a", "b"]), Texts.of([]))
    whole = path.read_bytes()
    for damaged in (b"", whole[:40], whole[:-1], whole + b"\0", b"x" + whole[1:]):
        path.write_bytes(damaged)
        assert encoding.open(path) is None


@pytest.mark.parametrize(
    "other",
    [np.zeros((2, 15), np.uint8), np.zeros((2, 16), np.int8), np.zeros(16, np.uint8), np.zeros((16, 2), np.uint8).T],
)
def test_array_of_something_else_is_not_opened(tmp_path, other) -> None:
    path = tmp_path / "encoded.npy"
    np.save(path, other)
    assert CharacterEncoding(16).open(path) is None
