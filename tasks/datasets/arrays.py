"""Decoded items on disk: one .npy file a split, written as a stream and recognised when it is not whole."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks import progress
from tasks.datasets.source import Split

_CHUNK_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Decoded:
    """What was seen while a split was decoded once."""

    #: SHA-256 of each item's bytes, in the split's order.
    sha256: list[str]
    #: int64 (channels, 256): how often each value occurs; statistics from it do not depend on the size of a chunk.
    counts: npt.NDArray[np.int64]

    def moments(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel on the scale 0..1, rounded to 6 digits."""
        values = np.arange(256) / 255
        total = self.counts.sum(axis=1)
        mean = self.counts @ values / total
        variance = (self.counts * (values - mean[:, None]) ** 2).sum(axis=1) / total
        return mean.round(6).tolist(), np.sqrt(variance).round(6).tolist()


def write(target: Path, split: Split, shape: tuple[int, ...], order: npt.NDArray[np.int64]) -> Decoded:
    """Decode a split, chunk by chunk, into a .npy file of uint8 (n, *shape).

    Ordinary writes, not a memory map: on a full disk those raise, where a map kills the process.

    Args:
        order: positions in the split, all of them, in the order in which the items are to stand in the file.

    Raises:
        DataError: an item is missing or damaged.
    """
    total = len(split.ids)
    step = max(1, _CHUNK_BYTES // math.prod(shape))
    sha256 = [""] * total
    counts = np.zeros((shape[0], 256), np.int64)
    with target.open("wb") as stream, progress.task("decoding", total) as shown:
        header = {"descr": "|u1", "fortran_order": False, "shape": (total, *shape)}
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, total, step):
            positions = order[start : start + step]
            items = np.ascontiguousarray(split.read(positions))
            if items.shape != (len(positions), *shape) or items.dtype != np.uint8:
                raise TypeError(f"read gave {items.dtype} {items.shape}, not uint8 {(len(positions), *shape)}")
            for position, item in zip(positions.tolist(), items, strict=True):
                sha256[position] = hashlib.sha256(item).hexdigest()
            for channel in range(shape[0]):
                counts[channel] += np.bincount(items[:, channel].reshape(-1), minlength=256)
            stream.write(items.data)
            shown.advance(len(positions))
    return Decoded(sha256, counts)


def open_whole(path: Path, shape: tuple[int, ...]) -> np.memmap[tuple[int, ...], np.dtype[np.uint8]] | None:
    """Map a file of uint8 ``shape`` read-only, or None if it is absent, cut short or something else."""
    if not path.is_file():
        return None
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return None  # whatever it is, it is not what `write` leaves; the caller builds it anew
    if not isinstance(array, np.memmap) or array.shape != shape or array.dtype != np.uint8:
        return None
    whole = array.flags.c_contiguous and path.stat().st_size == array.offset + array.nbytes
    return array if whole else None
