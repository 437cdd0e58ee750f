"""Texts as bags of words and word n-grams: what fastText's classifier reads."""

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from tasks.datasets.texts import Texts
from tasks.errors import DataError
from tasks.models.vocabulary import Vocabulary, in_blocks, vocabulary
from tasks.models.words import END

_WIDTH = b"width"
_COLUMN = pa.field("features", pa.large_list(pa.field("item", pa.int32(), nullable=False)), nullable=False)

with warnings.catch_warnings():
    # PyTorch says once in a process that sparse CSR tensors are in beta; nothing but their making is asked of them.
    warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
    _none = torch.zeros(1, dtype=torch.int32)
    torch.sparse_csr_tensor(_none, _none[:0], _none[:0], (0, 1), check_invariants=False)


@dataclass(frozen=True, eq=False)
class Bags:
    """Bags of features, in a fixed order."""

    #: int64, (n+1,), ascending: bag i is features[offsets[i]:offsets[i+1]].
    offsets: npt.NDArray[np.int64]
    #: int32, each in 0…width-1; a bag holds a feature as often as its text does.
    features: npt.NDArray[np.int32]
    #: How many features there are in all.
    width: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> "Bags":
        starts, ends = self.offsets[rows], self.offsets[rows + 1]
        # Whole slices: ten times as fast as one position for each feature.
        slices = [self.features[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        offsets = np.concatenate([[0], np.cumsum(ends - starts)])
        return Bags(offsets, np.concatenate([self.features[:0], *slices]), self.width)

    def tensor(self) -> Tensor:
        """One tensor, sparse CSR (n, width), whose columns in row i are the features of bag i.

        It carries the bags and is no matrix to compute with: the columns of a row are neither sorted nor distinct, and
        its values, bool, say nothing. Indices are int32.
        """
        offsets = (self.offsets - self.offsets[0]).astype(np.int32)
        # A mapped file's memory must not be written to, and PyTorch knows no such memory.
        features = np.require(self.features[self.offsets[0] : self.offsets[-1]], requirements=["W"])
        return torch.sparse_csr_tensor(
            torch.from_numpy(offsets),
            torch.from_numpy(features),
            torch.ones(len(features), dtype=torch.bool),
            (len(self), self.width),
            check_invariants=False,
        )


@dataclass(frozen=True)
class BagEncoding:
    """The words and word n-grams of each text, as fastText's classifier sees them.

    Both are features by their hashes: words of their own, n-grams by one of ``buckets`` places. As in fastText `</s>`
    ends each text, and words that are too rare to be features are still part of n-grams. Otherwise than there

    - only what the pool has is a feature: what other texts have besides could not have been trained on;
    - a place that holds a single n-gram of the whole pool is none: it tells nothing of another text, and such places
      are half of all;
    - two words of one hash are one feature, and words that look like a label or like `</s>` are words like any other.

    Source: Joulin, Grave, Bojanowski & Mikolov, Bag of Tricks for Efficient Text Classification, EACL 2017, section
    2.2; the hashes are those of fastText 0.9.3, whose defaults for classification ``min_count`` and ``buckets`` have.
    """

    min_count: int = 1
    ngrams: int = 2
    buckets: int = 2_000_000
    suffix = ".arrow"

    @property
    def key(self) -> str:
        """What the encoded texts depend on besides the texts; the version goes up when equal settings give others."""
        return f"bags-v1-{self.min_count}-{self.ngrams}-{self.buckets}"

    def check(self, pool: Texts) -> None:
        """Refuse a pool without words.

        Raises:
            DataError: its texts are blank, or all of its words too rare.
        """
        words = self.vocabulary(pool).words
        if np.all(words == END):
            raise DataError(
                f"train.fasttext.min_count: no word stands in the pool's texts {self.min_count} times or more; lower "
                "it, or choose another dataset if its texts are blank"
            )

    def write(self, target: Path, items: Texts, pool: Texts) -> None:
        """Encode ``items``, block by block, into an Arrow file that ``open`` maps.

        Args:
            pool: whose words and n-grams are the features.
        """
        known = self.vocabulary(pool)
        # Ordinary writes, not a memory map: on a full disk those raise, where a map kills the process.
        with tempfile.TemporaryFile(dir=target.parent) as stream:
            lengths = [np.zeros(1, np.int64)]
            for group in in_blocks(items, known.features, "encoding"):
                for features, counts in group:
                    stream.write(features.tobytes())
                    lengths.append(counts)
            _write(target, np.cumsum(np.concatenate(lengths)), _mapped(stream), known.width)

    def open(self, path: Path) -> Bags | None:
        """Map a file of ``write`` read-only, or None if it is absent, cut short or something else."""
        try:
            with pa.ipc.open_file(pa.memory_map(str(path))) as reader:
                batch = reader.get_batch(0)
            if not batch.schema.equals(pa.schema([_COLUMN])):
                return None
            width = int(batch.schema.metadata[_WIDTH])
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
            return None  # whatever it is, it is not what `write` leaves; the caller builds it anew
        bags = batch.column(0)
        return Bags(bags.offsets.to_numpy(), bags.values.to_numpy(), width)

    def shape(self, inputs: Bags) -> tuple[int, ...]:
        """(how many features there are,)."""
        return (inputs.width,)

    def bags(self, items: Texts, known: Vocabulary) -> Bags:
        """``items`` in memory, by the features of a pool."""
        parts = [part for group in in_blocks(items, known.features, "encoding") for part in group]
        features = np.concatenate([np.empty(0, np.int32), *(features for features, _ in parts)])
        lengths = np.concatenate([np.zeros(1, np.int64), *(counts for _, counts in parts)])
        return Bags(np.cumsum(lengths), features, known.width)

    def vocabulary(self, pool: Texts) -> Vocabulary:
        """The features of ``pool``."""
        return vocabulary(pool, self.min_count, self.ngrams, self.buckets)


def _mapped(stream: BinaryIO) -> npt.NDArray[np.int32]:
    """What was written to ``stream``; an empty file cannot be mapped."""
    stream.flush()
    return np.memmap(stream, np.int32, "r") if stream.tell() else np.empty(0, np.int32)


def _write(path: Path, offsets: npt.NDArray[np.int64], features: npt.NDArray[np.int32], width: int) -> None:
    """One record batch, so that all bags lie in one piece."""
    bags = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(features), _COLUMN.type)
    schema = pa.schema([_COLUMN], {_WIDTH: str(width).encode()})
    with pa.ipc.new_file(str(path), schema) as writer:
        writer.write_batch(pa.record_batch([bags], schema=schema))
