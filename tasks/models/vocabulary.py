"""Which words and word n-grams of a pool of texts are features, and which number each of them has.

Source: Joulin, Grave, Bojanowski & Mikolov, Bag of Tricks for Efficient Text Classification, EACL 2017, section 2.2;
hashes and places are those of `Dictionary::getLine` and `Dictionary::addWordNgrams` of fastText 0.9.3.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from tasks import files, progress
from tasks.datasets.texts import Texts
from tasks.errors import DataError
from tasks.models.words import word_hashes

Hashes = npt.NDArray[np.uint32]
Bounds = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]
Made = TypeVar("Made")

#: Bytes of text that are looked at together: what is made of them fits a core's cache.
_BLOCK = 2**21
#: Blocks whose results are held at once.
_GROUP = 16

_FACTOR = np.uint64(116049371)
#: Of n-grams in a place, for it to be a feature.
_SHARED = 2


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The features of a pool, numbered from 0, the most frequent first, so that they lie together in memory."""

    #: Hashes of the words that are features, ascending; two words of one hash are one feature.
    words: Hashes
    #: int32, as long: their numbers.
    numbers: Numbers
    #: int32, (buckets,): the number of each place that holds n-grams; -1: it is no feature.
    places: Numbers
    #: How many words an n-gram has at most.
    ngrams: int
    #: How many features there are.
    width: int

    def write(self, path: Path) -> None:
        """Keep it in a .npz file; most places hold nothing and are left out."""
        used = np.flatnonzero(self.places >= 0)
        sizes = np.array([self.ngrams, self.width, len(self.places)])
        parts = [sizes, self.words, self.numbers, used, self.places[used]]
        files.write_atomic(path, lambda target: _save(target, parts))

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """Read a file of ``write``.

        Raises:
            DataError: it is missing or damaged.
        """
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
                sizes, words, numbers, used, numbered = (kept[name] for name in kept.files)
                ngrams, width, buckets = sizes.tolist()
                places = np.full(buckets, -1, dtype=np.int32)
                places[used] = numbered
                return cls(words, numbers, places, ngrams, width)
        except (OSError, KeyError, ValueError, IndexError, BadZipFile) as error:
            raise DataError(f"{path}: no vocabulary that can be read ({error}); fetch the model again") from None

    def features(self, hashes: Hashes, bounds: Bounds) -> tuple[Numbers, npt.NDArray[np.int64]]:
        """The features of some texts; what is none is left out.

        Args:
            hashes: of the texts' words, as `word_hashes` returns them.
            bounds: where each text's begin, (n+1,).

        Returns:
            At each word its own number, then those of the n-grams that begin there, int32; and how many of them each
            text has, int64, (n,).
        """
        columns = [self._of_words(hashes)]
        for places in ngram_places(hashes, bounds, self.ngrams, len(self.places)):
            columns.append(np.where(places < 0, np.int32(-1), self.places[places]))
        table = np.stack(columns, axis=1)
        kept = table >= 0
        before = np.concatenate([[0], np.cumsum(np.count_nonzero(kept, axis=1))])
        return table[kept], np.diff(before[bounds])

    def _of_words(self, hashes: Hashes) -> Numbers:
        """The words' numbers, -1 for those that are no features; a binary search's result, many times as fast."""
        shift, first, words, numbers = self._index
        found = first[hashes >> shift]
        behind = np.flatnonzero(words[found] < hashes)
        while len(behind):
            found[behind] += 1
            behind = behind[words[found[behind]] < hashes[behind]]
        return np.where(words[found] == hashes, numbers[found], np.int32(-1))

    @cached_property
    def _index(self) -> tuple[np.uint32, Numbers, Hashes, Numbers]:
        """For each value of the hashes' upper bits the first word from which to look on, and the words with an end."""
        bits = len(self.words).bit_length() + 1
        shift = np.uint32(32 - bits)
        first = np.searchsorted(self.words, np.arange(1 << bits, dtype=np.uint32) << shift).astype(np.int32)
        return shift, first, np.append(self.words, np.uint32(2**32 - 1)), np.append(self.numbers, np.int32(-1))


def _save(target: Path, parts: list[npt.NDArray[Any]]) -> None:
    with target.open("wb") as stream:
        np.savez_compressed(stream, *parts)


@lru_cache(maxsize=1)
def vocabulary(pool: Texts, min_count: int, ngrams: int, buckets: int) -> Vocabulary:
    """The features of ``pool``; those found last are kept, since pool and held-out texts ask for the same.

    Args:
        pool: a place that its n-grams use twice or more is a feature; what stands there once tells nothing of another
            text.
        min_count: how often a word stands in it, to be a feature.
        ngrams: how many words an n-gram has at most.
        buckets: places for the n-grams.
    """
    words, counts = np.empty(0, np.uint32), np.empty(0, np.int64)
    used = np.zeros(buckets, dtype=np.int64)

    def met(hashes: Hashes, bounds: Bounds) -> tuple[Hashes, Counts, list[npt.NDArray[np.int64]]]:
        return *np.unique(hashes, return_counts=True), list(ngram_places(hashes, bounds, ngrams, buckets))

    for group in in_blocks(pool, met, "counting words"):
        words, counts = _added([(words, counts), *((found, often) for found, often, _ in group)])
        places = np.concatenate([places for _, _, orders in group for places in orders] or [np.empty(0, np.int64)])
        used += np.bincount(places[places >= 0], minlength=buckets)
    words, counts = words[counts >= min_count], counts[counts >= min_count]
    featured = np.flatnonzero(used >= _SHARED)
    order = np.argsort(-np.concatenate([counts, used[featured]]), kind="stable")
    numbers = np.empty(len(order), dtype=np.int32)
    numbers[order] = np.arange(len(order))
    at_places = np.full(buckets, -1, dtype=np.int32)
    at_places[featured] = numbers[len(words) :]
    return Vocabulary(words, numbers[: len(words)], at_places, ngrams, len(order))


def _added(parts: list[tuple[Hashes, Counts]]) -> tuple[Hashes, Counts]:
    """Distinct words, ascending, with the sums of their counts."""
    words, where = np.unique(np.concatenate([words for words, _ in parts]), return_inverse=True)
    counts = np.zeros(len(words), dtype=np.int64)
    np.add.at(counts, where, np.concatenate([counts for _, counts in parts]))
    return words, counts


def ngram_places(hashes: Hashes, bounds: Bounds, ngrams: int, buckets: int) -> Iterator[npt.NDArray[np.int64]]:
    """For pairs, triples… of words up to ``ngrams`` the place of the one that begins at each word.

    Yields:
        int64, as long as ``hashes``; -1 where it would reach beyond its text.
    """
    # There hashes are signed numbers of 32 bits, and become unsigned ones of 64 with their sign.
    values = hashes.view(np.int32).astype(np.int64).view(np.uint64)
    mixed = values.copy()
    for more in range(1, ngrams):
        mixed *= _FACTOR
        mixed[:-more] += values[more:]
        places = (mixed % np.uint64(buckets)).view(np.int64)
        for before_end in range(1, more + 1):
            places[np.maximum(bounds[1:] - before_end, 0)] = -1
        yield places


def in_blocks(texts: Texts, make: Callable[[Hashes, Bounds], Made], shown: str) -> Iterator[list[Made]]:
    """What ``make`` makes of the hashes of blocks of ``texts``, in order, group by group.

    Blocks and groups are the same on every machine; only how many threads work at them is not.
    """
    offsets, data = texts.buffers()
    inner = np.searchsorted(offsets, np.arange(offsets[0], offsets[-1], _BLOCK))
    cuts = np.unique([0, *inner.tolist(), len(texts)])

    def block(start: int, stop: int) -> Made:
        places = offsets[start : stop + 1]
        return make(*word_hashes(places - places[0], data[places[0] : places[-1]]))

    with ThreadPoolExecutor(_threads()) as threads, progress.task(shown, len(texts)) as bar:
        for first in range(0, len(cuts) - 1, _GROUP):
            group = cuts[first : first + _GROUP + 1]
            yield list(threads.map(block, group[:-1].tolist(), group[1:].tolist()))
            bar.advance(int(group[-1] - group[0]))


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
