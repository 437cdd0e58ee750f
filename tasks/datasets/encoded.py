"""Columns of a table as the numbers that a model takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.datasets import numerals
from tasks.datasets.columns import Columns
from tasks.errors import DataError

#: A column with more different values than these does not group the rows.
_CATEGORIES = 100
_GREATEST = float(np.finfo(np.float32).max)

Numbers = npt.NDArray[np.float32]


def encode(pool: Columns, test: Columns, features: Sequence[str]) -> tuple[Numbers, Numbers]:
    """Both files as float32 (n, d), by what the pool tells about each column.

    A column is numeric if everything that stands there in the pool is a finite number; the pool's median takes the
    place of missing values, and where the pool has some, a further column says which (1). Any other column is a
    category: one column of 0 and 1 for each of its values in the pool, sorted, and one for missing values where the
    pool has some; a value that only the held-out set has is 0 everywhere. Columns in which all of the pool is alike are
    left out, since nothing can be learnt from them.

    Raises:
        DataError: a category of more than 100 values, a held-out value of a numeric column that is no number, a number
            that float32 does not hold, or no column is left.
    """
    parts: list[tuple[Numbers, Numbers]] = []
    for name in features:
        column = _fit(pool, name)
        pairs = zip(column.encode(pool), column.encode(test), strict=True)
        parts += [(ours, theirs) for ours, theirs in pairs if len(ours) and (ours != ours[0]).any()]
    if not parts and len(pool):
        raise DataError(
            f"{pool.file}: no column tells one row of the pool from another ({', '.join(features) or 'none'}); name "
            "others with dataset.features"
        )
    return _matrix(pool, [ours for ours, _ in parts]), _matrix(test, [theirs for _, theirs in parts])


#: Share of a column's values up to which those that are no numbers are taken for slips.
_SLIPS = 0.1
#: Ranges of its values beyond which a column's distance from 0 is left out.
_FAR = 1000


def _matrix(columns: Columns, parts: list[Numbers]) -> Numbers:
    return np.stack(parts, axis=1) if parts else np.empty((len(columns), 0), np.float32)


@dataclass(frozen=True)
class _Number:
    name: str
    median: float
    #: From which values are counted: 0, but where they lie close together far from it, as times do.
    origin: float
    #: Whether values are missing in the pool.
    gaps: bool

    def encode(self, columns: Columns) -> list[Numbers]:
        read = _numbers(columns, self.name)
        filled = (np.where(read.missing, self.median, read.values) - self.origin).astype(np.float32)
        return [filled, read.missing.astype(np.float32)] if self.gaps else [filled]


@dataclass(frozen=True)
class _Category:
    name: str
    #: Of the pool, sorted.
    values: list[str]
    gaps: bool

    def encode(self, columns: Columns) -> list[Numbers]:
        text = numerals.feature_text(columns, self.name)
        codes = pc.index_in(text, pa.array(self.values, text.type), skip_nulls=True).fill_null(-1).to_numpy()
        flags = [(codes == code).astype(np.float32) for code in range(len(self.values))]
        missing = pc.is_null(text).to_numpy(zero_copy_only=False).astype(np.float32)
        return [*flags, missing] if self.gaps else flags


def _fit(pool: Columns, name: str) -> _Number | _Category:
    read = numerals.feature(pool, name)
    if read.missing.all():
        return _Category(name, [], gaps=False)
    if numerals.is_numeric(pool, name) or not read.bad.any():
        known = _numbers(pool, name).values[~read.missing]
        median = float(np.median(known))
        # Float32 has seven digits, and what tells such values apart would lie behind them.
        origin = median if abs(median) > _FAR * float(np.ptp(known)) else 0.0
        return _Number(name, median, origin, bool(read.missing.any()))
    _check_slips(pool, name, read)
    text = numerals.feature_text(pool, name)
    values = pc.unique(text).drop_null()
    if len(values) > _CATEGORIES:
        row = int(np.flatnonzero(read.bad)[0])
        raise DataError(
            f"{pool.where(row)}: column {name!r} has {text[row].as_py()!r}, which is no finite number, and "
            f"{len(values)} different values, more than the {_CATEGORIES} of a category; correct it, or leave the "
            "column out with dataset.features"
        )
    return _Category(name, sorted(values.to_pylist()), bool(text.null_count))


def _check_slips(pool: Columns, name: str, read: numerals.Numerals) -> None:
    """Refuse a column of numbers in which a few values are none, and which would become one of categories by them."""
    wrong = np.flatnonzero(read.bad)
    if 0 < len(wrong) <= _SLIPS * np.count_nonzero(~read.missing):
        row = int(wrong[0])
        raise DataError(
            f"{pool.where(row)}: column {name!r} has {numerals.feature_text(pool, name)[row].as_py()[:60]!r}, which is "
            "no finite number as its others are; correct it, or leave the column out with dataset.features"
        )


def _numbers(columns: Columns, name: str) -> numerals.Numerals:
    """A numeric column that float32 holds."""
    read = numerals.feature(columns, name)
    wrong = read.bad | (np.abs(read.values) > _GREATEST)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        fault = "which is no finite number" if read.bad[row] else f"beyond {_GREATEST:.3g}, the most that float32 holds"
        raise DataError(
            f"{columns.where(row)}: column {name!r} has {columns.stored[name][row].as_py()!r}, {fault}, as the pool's "
            "are; correct it, or leave the column out with dataset.features"
        )
    return read
