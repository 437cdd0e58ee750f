"""Texts on disk: one Arrow file a split, mapped, so that no text is in memory before it is looked at."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks import progress
from tasks.datasets.source import Decoded, Split

_SCHEMA = pa.schema({"text": pa.large_string()})
#: In one part of a file.
_CHUNK = 10_000


class Texts:
    """Texts in a fixed order, as UTF-8 bytes one after the other."""

    def __init__(self, texts: pa.ChunkedArray) -> None:
        """Of large_string."""
        self._texts = texts

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Texts":
        """From Python's strings; none of them holds half of a surrogate pair."""
        return cls(pa.chunked_array([pa.array(texts, pa.large_string())]))

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> "Texts":
        return Texts(pa.chunked_array([self._texts.take(pa.array(rows)).combine_chunks()]))

    def tolist(self) -> list[str]:
        """Python's strings."""
        found: list[str] = self._texts.to_pylist()
        return found

    def buffers(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Offsets, int64 (n + 1,), and bytes, uint8: text i is ``data[offsets[i]:offsets[i + 1]]``.

        Nothing is copied unless the texts lie in several parts, as many of a file's do; a few of them by ``[rows]``
        never do.
        """
        if not len(self._texts):
            return np.zeros(1, np.int64), np.empty(0, np.uint8)
        texts = self._texts.chunk(0) if self._texts.num_chunks == 1 else self._texts.combine_chunks()
        _, offsets, data = texts.buffers()
        places = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        return places, np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)


def write(target: Path, split: Split, order: npt.NDArray[np.int64]) -> Decoded:
    """Write a split's texts, part by part; ``order``: positions in the split as they are to stand in the file.

    Raises:
        DataError: a text is missing or damaged.
    """
    sha256 = [""] * len(split.ids)
    with (
        target.open("wb") as stream,
        pa.ipc.new_file(stream, _SCHEMA) as writer,
        progress.task("decoding", len(order)) as shown,
    ):
        for start in range(0, len(order), _CHUNK):
            positions = order[start : start + _CHUNK]
            found: list[str] = split.read(positions)
            for position, text in zip(positions.tolist(), found, strict=True):
                sha256[position] = hashlib.sha256(text.encode()).hexdigest()
            writer.write_table(pa.table([pa.array(found, pa.large_string())], _SCHEMA))
            shown.advance(len(positions))
    return Decoded(sha256, [], [])


def open_whole(path: Path, count: int) -> Texts | None:
    """Map a file of ``count`` texts, or None if it is absent, cut short or something else."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowException):
        return None  # whatever it is, it is not what is written here; the caller builds it anew
    if not table.schema.equals(_SCHEMA) or len(table) != count:
        return None
    return Texts(table["text"])
