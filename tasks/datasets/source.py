"""What a data set hands over: two lists of items, and a way to read them as arrays."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Stands where the class of an item is not known.
UNKNOWN = -1


@dataclass(frozen=True)
class Split:
    """Items in a fixed order; position i of every field speaks of the same item."""

    #: Strings, stable across runs and machines, no two alike.
    ids: list[str]
    #: Where a person can look at the item: a path inside the data folder, or a position in a published file.
    uris: list[str]
    #: int64; index into the classes, UNKNOWN where nobody knows.
    labels: npt.NDArray[np.int64]
    #: read(rows) → the items at these positions, int64 (n,), as an array (n, *shape).
    read: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Source:
    """A pool and a held-out set of items of one shape."""

    classes: tuple[str, ...]
    #: Of one item: (channels, height, width).
    shape: tuple[int, ...]
    pool: Split
    test: Split
