"""Columns of files read as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.datasets.columns import Columns

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"

# As programs write them; to bring every text to lower case first would take longer than all the rest.
_NAN = ("nan", "NaN", "NAN")
_TRUE = ("true", "True", "TRUE")
_FALSE = ("false", "False", "FALSE")

_NUMERIC = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)


@dataclass(frozen=True)
class Numerals:
    """A column as numbers."""

    #: float64 (n,); NaN where nothing stands, or something else than a number.
    values: npt.NDArray[np.float64]
    #: bool (n,): where nothing stands.
    missing: npt.NDArray[np.bool_]

    @property
    def bad(self) -> npt.NDArray[np.bool_]:
        """bool (n,): where something stands that is not a finite number."""
        return ~self.missing & ~np.isfinite(self.values)


def is_numeric(columns: Columns, name: str) -> bool:
    """Whether the file stores a column as numbers or truth values (or as nothing but null)."""
    return any(kind(columns.stored[name].type) for kind in _NUMERIC)


def read(columns: Columns, name: str) -> Numerals:
    """A column in which blank texts are missing values.

    Numbers are written with digits, a decimal point and an exponent. The text nan is not a number, but where a Parquet
    file stores floats, which have no other way of saying it, NaN is a missing value.

    Raises:
        DataError: the column is of a type that cannot be read as text either.
    """
    return _stored(columns, name) if is_numeric(columns, name) else _from_text(_trimmed(columns, name))


def feature(columns: Columns, name: str) -> Numerals:
    """Like ``read``, of a column that a model sees: the text nan is a missing value as well, true is 1 and false is 0.

    Raises:
        DataError: as ``read``.
    """
    if is_numeric(columns, name):
        return _stored(columns, name)
    text = feature_text(columns, name)
    found = _from_text(text)
    if not found.bad.any():
        return found
    return _from_text(pc.if_else(_among(text, _TRUE), "1", pc.if_else(_among(text, _FALSE), "0", text)))


def feature_text(columns: Columns, name: str) -> pa.Array:
    """A column that a model sees, as large_string; null where nothing stands, or the text nan.

    Raises:
        DataError: the column is of a type that cannot be read as text.
    """
    if pa.types.is_floating(columns.stored[name].type):
        text = pc.cast(columns.stored[name], pa.large_string())
    else:
        text = _trimmed(columns, name)
    return pc.if_else(_among(text, _NAN), None, text)


def _among(text: pa.Array, words: Sequence[str]) -> pa.Array:
    return pc.is_in(text, pa.array(words, text.type))


def _stored(columns: Columns, name: str) -> Numerals:
    values = _array(pc.cast(columns.stored[name], pa.float64(), safe=False))
    return Numerals(values, np.isnan(values))


def _from_text(text: pa.Array) -> Numerals:
    missing = _array(pc.is_null(text))
    try:
        # Far faster than a look at every text. What it takes besides numbers comes out as infinity or NaN.
        return Numerals(_array(pc.cast(text, pa.float64())), missing)
    except pa.ArrowInvalid:
        numbers = pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None)
        return Numerals(_array(pc.cast(numbers, pa.float64())), missing)


def _trimmed(columns: Columns, name: str) -> pa.Array:
    text = pc.utf8_trim_whitespace(columns.text(name))
    return pc.if_else(pc.equal(text, ""), None, text)


def _array(column: pa.Array) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return array
