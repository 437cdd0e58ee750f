"""What the data sets of texts have in common: columns of a file become a split."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.datasets import rows
from tasks.datasets.columns import Columns
from tasks.datasets.source import Split
from tasks.errors import DataError


def joined(columns: Columns, names: Sequence[str]) -> pa.Array:
    """The text of each row, large_string: its columns one after the other, a blank between any two that say something.

    null is an empty text.

    Raises:
        DataError: a column is missing or cannot be read as text, a text holds NUL, or all are blank.
    """
    for name in names:
        columns.require(name, "; name those of the texts with dataset.text")
    first, *others = [columns.text(name).fill_null("") for name in names]
    for other in others:
        both = pc.binary_join_element_wise(first, other, pa.scalar(" ", pa.large_string()))
        first = pc.if_else(pc.equal(first, ""), other, pc.if_else(pc.equal(other, ""), first, both))
    _check(columns, first)
    return first


def _check(columns: Columns, texts: pa.Array) -> None:
    damaged = pc.index(pc.match_substring(texts, "\0"), True).as_py()
    if damaged >= 0:
        raise DataError(
            f"{columns.where(damaged)}: the text holds NUL, which is no character; save the file as UTF-8, or take it "
            "out of the text"
        )
    if len(texts) and not pc.any(pc.not_equal(pc.utf8_trim_whitespace(texts), "")).as_py():
        raise DataError(f"{columns.file}: every text is blank; correct the file, or dataset.text")


def split(root: Path, columns: Columns, texts: pa.Array, labels: npt.NDArray[Any], ids: list[str]) -> Split:
    """A split of kind texts.

    Args:
        root: the folder from which uris are seen.
        columns: the file.
        texts: large_string.
        labels: int64 or float64.
        ids: one a row.
    """
    return Split(ids, rows.uris(root, columns), labels, _reader(texts))


def _reader(texts: pa.Array) -> Callable[[npt.NDArray[np.int64]], list[str]]:
    def read(positions: npt.NDArray[np.int64]) -> list[str]:
        found: list[str] = texts.take(pa.array(positions)).to_pylist()
        return found

    return read
