"""Texts as bags of words and word n-grams."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.datasets.texts import Texts
from tasks.errors import DataError
from tasks.models import vocabulary as vocabularies
from tasks.models.bags import BagEncoding, Bags
from tasks.models.words import word_hash, word_hashes

#: Texts with all that may stand between words, letters of two to four bytes, and words that meet again.
LETTERS = "ab \t\n\v\f\r\0é中🙂"
TEXTS = st.lists(st.text(LETTERS, max_size=12), min_size=1, max_size=8)
FEW_PLACES = 7


def fnv(word: bytes) -> int:
    """`Dictionary::hash` of fastText: h ^= uint32_t(int8_t(c)); h *= 16777619, in 32 bits."""
    h = 2166136261
    for byte in word:
        signed = byte - 256 if byte >= 128 else byte
        h = ((h ^ (signed % 2**32)) * 16777619) % 2**32
    return h


def words_of(text: str) -> list[bytes]:
    """`Dictionary::readWord`, with line ends as spaces, and the end of the line."""
    found, word = [], b""
    for number in text.encode():
        if number in b" \n\r\t\v\f\0":
            found += [word] if word else []
            word = b""
        else:
            word += bytes([number])
    return [*found, *([word] if word else []), b"</s>"]


def features_of(text: str, ngrams: int, buckets: int) -> list[tuple[str, int]]:
    """`Dictionary::getLine` and `addWordNgrams`: words by their hashes, n-grams by their places."""
    hashes = [fnv(word) for word in words_of(text)]
    signed = [number - 2**32 if number >= 2**31 else number for number in hashes]
    found = [("word", number) for number in hashes]
    for i in range(len(signed)):
        h = signed[i] % 2**64
        for j in range(i + 1, min(i + ngrams, len(signed))):
            h = (h * 116049371 + signed[j]) % 2**64
            found.append(("place", h % buckets))
    return found


def expected(texts: Sequence[str], pool: Sequence[str], min_count: int, ngrams: int, buckets: int) -> list[Counter]:
    """The bags in plain Python."""
    often = Counter(feature for text in pool for feature in features_of(text, ngrams, buckets))
    fewest = {"word": min_count, "place": 2}
    known = {feature for feature, count in often.items() if count >= fewest[feature[0]]}
    return [Counter(one for one in features_of(text, ngrams, buckets) if one in known) for text in texts]


def named(bags: Bags, known: vocabularies.Vocabulary) -> list[Counter]:
    """The bags with their features' kinds and hashes or places instead of numbers."""
    names = {number: ("word", int(word)) for word, number in zip(known.words, known.numbers, strict=True)}
    names |= {int(known.places[place]): ("place", int(place)) for place in np.flatnonzero(known.places >= 0)}
    assert sorted(names) == list(range(bags.width))
    return [Counter(names[number] for number in bag) for bag in lists(bags)]


def lists(bags: Bags) -> list[list[int]]:
    return [bags.features[a:b].tolist() for a, b in pairwise(bags.offsets)]


def encoded(folder: Path, encoding: BagEncoding, items: Texts, pool: Texts) -> Bags:
    path = folder / "bags.arrow"
    encoding.write(path, items, pool)
    bags = encoding.open(path)
    assert bags is not None
    return bags


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One for all examples of a property: each overwrites the last one's file."""
    return tmp_path_factory.mktemp("bags")


@given(st.lists(st.text(max_size=100), max_size=5))
def test_hashes_are_those_of_fasttext(texts) -> None:
    texts = [text.encode(errors="ignore").decode() for text in texts]
    hashes, bounds = word_hashes(*Texts.of(texts).buffers())
    assert [hashes[a:b].tolist() for a, b in pairwise(bounds)] == [
        [fnv(word) for word in words_of(text)] for text in texts
    ]


@given(st.binary(max_size=20))
def test_the_hash_of_one_word_is_that_of_fasttext(word) -> None:
    assert word_hash(word) == fnv(word)


@pytest.mark.parametrize("length", [63, 64, 65, 65_534, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("count", [1, 100])
def test_long_words_are_hashed_to_their_end(length, count) -> None:
    words = ["é" * (length // 2) + chr(ord("a") + number % 26) + str(number) for number in range(count)]
    hashes, _ = word_hashes(*Texts.of([" ".join(words)]).buffers())
    picked = [0, count // 2, count - 1]
    assert hashes[picked].tolist() == [fnv(words[number].encode()) for number in picked]


@given(TEXTS, TEXTS, st.integers(1, 2), st.integers(1, 4))
def test_bags_are_those_of_brute_force(folder, texts, pool, min_count, ngrams) -> None:
    # Never without a word.
    pool = [*pool, "a a"]
    encoding = BagEncoding(min_count, ngrams, FEW_PLACES)
    kept = Texts.of(pool)
    bags = encoded(folder, encoding, Texts.of(texts), kept)
    known = vocabularies.vocabulary(kept, min_count, ngrams, FEW_PLACES)
    assert named(bags, known) == expected(texts, pool, min_count, ngrams, FEW_PLACES)


def reviews(count: int) -> list[str]:
    generator = np.random.default_rng(0)
    return [" ".join(f"w{word}" for word in generator.zipf(1.5, generator.integers(0, 60))) for _ in range(count)]


def test_frequent_features_come_first(folder) -> None:
    texts = Texts.of(reviews(200))
    bags = encoded(folder, BagEncoding(buckets=5000), texts, texts)
    counts = np.bincount(bags.features, minlength=bags.width)
    assert counts.min() > 0
    assert np.all(np.diff(counts) <= 0)


def test_threads_blocks_and_groups_change_nothing(folder, monkeypatch) -> None:
    texts, encoding = reviews(300), BagEncoding(buckets=5000)
    path = folder / "bags.arrow"
    written = set()
    for threads, block, group in ((1, 2**21, 16), (3, 2**21, 16), (4, 1000, 2), (1, 1, 3)):
        monkeypatch.setattr(vocabularies, "_threads", lambda threads=threads: threads)
        monkeypatch.setattr(vocabularies, "_BLOCK", block)
        monkeypatch.setattr(vocabularies, "_GROUP", group)
        pool = Texts.of(texts)
        encoding.write(path, pool, pool)
        written.add(path.read_bytes())
    assert len(written) == 1


def test_texts_may_be_part_of_a_longer_column(folder) -> None:
    texts = reviews(20)
    whole, part = Texts.of(texts), Texts(Texts.of(["before", *texts, "after"])._texts.slice(1, 20))
    assert lists(encoded(folder, BagEncoding(), part, part)) == lists(encoded(folder, BagEncoding(), whole, whole))


@given(st.lists(st.integers(0, 49), max_size=30))
def test_gathering_equals_indexing_a_list(rows) -> None:
    generator = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(generator.integers(0, 6, 50))])
    bags = Bags(offsets, generator.integers(0, 9, offsets[-1]).astype(np.int32), 9)
    gathered = bags[np.array(rows, dtype=np.int64)]
    assert lists(gathered) == [lists(bags)[row] for row in rows]
    assert (len(gathered), gathered.features.dtype, gathered.offsets.dtype) == (len(rows), np.int32, np.int64)


def test_a_tensor_carries_the_bags_as_its_rows(folder) -> None:
    pool = Texts.of(reviews(20))
    bags = encoded(folder, BagEncoding(), pool, pool)
    rows = np.array([7, 7, 0, 19])
    for carried in (bags[rows].tensor(), bags[rows].tensor().to("cpu", non_blocking=True)):
        assert (len(carried), carried.shape, carried.layout) == (4, (4, bags.width), torch.sparse_csr)
        bounds, features = carried.crow_indices(), carried.col_indices()
        found = [features[a:b].tolist() for a, b in pairwise(bounds)]
        assert found == [lists(bags)[row] for row in rows]
    with torch.inference_mode():
        assert torch.equal(bags.tensor().col_indices(), torch.from_numpy(bags.features.copy()))


def test_a_tensor_does_not_write_into_the_file(folder) -> None:
    pool = Texts.of(reviews(20))
    bags = encoded(folder, BagEncoding(), pool, pool)
    bags.tensor().col_indices().zero_()
    assert bags.features.any()


def test_blank_and_very_long_texts_are_bags_too(folder) -> None:
    texts = ["", " \n\t", "a b " * 300_000, "a b"]
    pool = Texts.of(texts)
    bags = encoded(folder, BagEncoding(), pool, pool)
    assert np.diff(bags.offsets).tolist() == [1, 1, 2 * 600_001 - 1, 2 * 3 - 1]
    assert bags.width == 3 + 3


def test_a_text_without_anything_of_the_pool_is_an_empty_bag(folder) -> None:
    # The end of the text is too rare as well.
    bags = encoded(folder, BagEncoding(min_count=3), Texts.of(["x y", ""]), Texts.of(["a b a c a"]))
    assert lists(bags) == [[], []]
    assert bags.tensor().shape == (2, 1)


def test_no_texts_are_no_bags(folder) -> None:
    assert len(encoded(folder, BagEncoding(), Texts.of([]), Texts.of(["a"]))) == 0


def test_line_ends_do_not_end_a_text(folder) -> None:
    pool = Texts.of(["a b\na b", "a b a b"])
    first, second = lists(encoded(folder, BagEncoding(), pool, pool))
    assert first == second


def test_the_shape_is_the_number_of_features(folder) -> None:
    pool = Texts.of(["a b", "a b c"])
    encoding = BagEncoding()
    assert encoding.shape(encoded(folder, encoding, pool, pool)) == (4 + 1,)


def test_keys_name_all_settings() -> None:
    assert len({BagEncoding().key, BagEncoding(2).key, BagEncoding(1, 3).key, BagEncoding(1, 2, 9).key}) == 4


@pytest.mark.parametrize(("texts", "min_count"), [(["a b", "c"], 2), ([" ", ""], 1), ([], 1)])
def test_a_pool_without_words_is_refused(texts, min_count) -> None:
    with pytest.raises(DataError, match=r"^train\.fasttext\.min_count: .*lower it[^\n]*$"):
        BagEncoding(min_count).check(Texts.of(texts))


def test_a_pool_with_words_is_not_refused() -> None:
    BagEncoding(min_count=2).check(Texts.of(["a b", "b"]))


def test_only_whole_files_of_bags_open(tmp_path) -> None:
    encoding, pool = BagEncoding(), Texts.of(reviews(50))
    path = tmp_path / "bags.arrow"
    assert encoding.open(path) is None
    encoding.write(path, pool, pool)
    assert [path.name for path in tmp_path.iterdir()] == ["bags.arrow"]
    content = path.read_bytes()
    for damaged in (b"", content[:-1], content[: len(content) // 2], b"x" * 200):
        path.write_bytes(damaged)
        assert encoding.open(path) is None
    path.write_bytes(content)
    assert encoding.open(path) is not None


def test_files_of_other_columns_do_not_open(tmp_path) -> None:
    for number, table in enumerate((pa.table({"text": ["a"]}), pa.table({"features": pa.array([[1]])}))):
        path = tmp_path / f"{number}.arrow"
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
        assert BagEncoding().open(path) is None
