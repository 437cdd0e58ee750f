"""What the data sets of numbers have in common: columns of a file become a split."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.datasets import encoded, row_fields, rows
from tasks.datasets.columns import Columns
from tasks.datasets.labelled import Labelled
from tasks.datasets.source import Source, Split


def source(
    root: Path,
    parts: tuple[Columns, Columns],
    features: Sequence[str],
    known: Labelled,
    ids: tuple[list[str], list[str]],
) -> Source:
    """A pool and a held-out set of kind numbers.

    Args:
        root: the folder from which uris are seen.
        parts: pool and held-out set.
        features: the columns that a model sees, which people see as well.
        known: the labels.
        ids: one a row.

    Raises:
        DataError: the columns cannot be encoded.
    """
    items = encoded.encode(*parts, features)
    pool, test = (
        Split(ids[place], rows.uris(root, part), labels, _reader(items[place]), row_fields.fields(part, features))
        for place, (part, labels) in enumerate(zip(parts, (known.pool, known.test), strict=True))
    )
    return Source(known.task, items[0].shape[1:], pool, test, "numbers")


def _reader(
    items: npt.NDArray[np.float32],
) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]:
    return lambda positions: items[positions]
