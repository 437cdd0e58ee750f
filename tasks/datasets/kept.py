"""How decoded items of each kind lie on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.datasets import arrays, texts
from tasks.datasets.source import Decoded, Kind, Split

#: Endings of the files.
SUFFIXES: dict[Kind, str] = {"images": ".npy", "numbers": ".npy", "texts": ".arrow"}
#: Of the items that are arrays.
DTYPES: dict[Kind, type[np.generic]] = {"images": np.uint8, "numbers": np.float32}


def write(target: Path, kind: Kind, split: Split, shape: tuple[int, ...], order: npt.NDArray[np.int64]) -> Decoded:
    """Decode a split into a file; ``order``: positions in the split as the items are to stand in it.

    Raises:
        DataError: an item is missing or damaged.
    """
    if kind == "texts":
        return texts.write(target, split, order)
    return arrays.write(target, split, shape, order, DTYPES[kind])


def open_whole(path: Path, kind: Kind, count: int, shape: tuple[int, ...]) -> Any | None:
    """Map a file of ``count`` items, or None if it is absent, cut short or something else."""
    if kind == "texts":
        return texts.open_whole(path, count)
    return arrays.open_whole(path, (count, *shape), DTYPES[kind])
