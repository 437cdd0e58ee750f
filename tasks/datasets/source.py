"""What a data set hands over: two lists of items, and a way to read them as arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tasks.task_type import TaskType

#: What the items are, which only data sets and models have to know.
Kind = Literal["images", "texts", "numbers"]


@dataclass(frozen=True)
class Split:
    """Items in a fixed order; position i of every field speaks of the same item."""

    #: Strings, stable across runs and machines, no two alike.
    ids: list[str]
    #: Where a person can look at the item: a path inside the data folder, or a position in a published file.
    uris: list[str]
    #: int64, an index into the classes, or -1 where nobody knows; or float64, a number, or NaN.
    labels: npt.NDArray[Any]
    #: read(rows) → the items at these positions, int64 (n,): images as uint8 (n, *shape), numbers as float32
    #: (n, *shape), texts as a list of str.
    read: Callable[[npt.NDArray[np.int64]], Any]
    #: What people see of each item, column by column, as JSON; None where its uri or the item itself tells them.
    fields: list[str] | None = None


@dataclass(frozen=True)
class Source:
    """A pool and a held-out set of items of one kind and shape."""

    task: TaskType
    #: Of one item: (channels, height, width) of images, (columns,) of numbers, () of texts.
    shape: tuple[int, ...]
    pool: Split
    test: Split
    kind: Kind = "images"


@dataclass(frozen=True)
class Decoded:
    """What was seen while a split was decoded once."""

    #: SHA-256 of each item's bytes, in the split's order.
    sha256: list[str]
    #: Of each channel of images, on the scale 0..1, or of each column of numbers; of texts there is none.
    mean: list[float]
    std: list[float]
