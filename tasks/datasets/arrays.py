"""Decoded items on disk: one .npy file a split, written as a stream and recognised when it is not whole."""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks import progress
from tasks.datasets.moments import moments_of
from tasks.datasets.source import Decoded, Split

_CHUNK_BYTES = 8 * 2**20


def write(
    target: Path, split: Split, shape: tuple[int, ...], order: npt.NDArray[np.int64], dtype: npt.DTypeLike = np.uint8
) -> Decoded:
    """Decode a split, chunk by chunk, into a .npy file of ``dtype`` (n, *shape).

    Ordinary writes, not a memory map: on a full disk those raise, where a map kills the process.

    Args:
        order: positions in the split, all of them, in the order in which the items are to stand in the file.
        dtype: uint8 or float32.

    Raises:
        DataError: an item is missing or damaged.
    """
    total, kind = len(split.ids), np.dtype(dtype)
    step = max(1, _CHUNK_BYTES // (math.prod(shape) * kind.itemsize))
    sha256 = [""] * total
    moments = moments_of(kind, shape[0])
    with target.open("wb") as stream, progress.task("decoding", total) as shown:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (total, *shape)}
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, total, step):
            positions = order[start : start + step]
            items = np.ascontiguousarray(split.read(positions))
            if items.shape != (len(positions), *shape) or items.dtype != kind:
                raise TypeError(f"read gave {items.dtype} {items.shape}, not {kind} {(len(positions), *shape)}")
            for position, item in zip(positions.tolist(), items, strict=True):
                sha256[position] = hashlib.sha256(item).hexdigest()
            moments.add(items)
            stream.write(items.data)
            shown.advance(len(positions))
    return Decoded(sha256, *moments.found())


def open_whole(
    path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8
) -> np.memmap[Any, np.dtype[Any]] | None:
    """Map a file of ``dtype`` and ``shape`` read-only, or None if it is absent, cut short or something else."""
    if not path.is_file():
        return None
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return None  # whatever it is, it is not what `write` leaves; the caller builds it anew
    if not isinstance(array, np.memmap) or array.shape != shape or array.dtype != np.dtype(dtype):
        return None
    whole = array.flags.c_contiguous and path.stat().st_size == array.offset + array.nbytes
    return array if whole else None
