"""Rows of a table as people see them."""

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tasks.datasets import numerals
from tasks.datasets.columns import Columns

#: As JSON writes them.
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
#: Rows at a time, so that the texts are not in memory twice.
_SLICE = 65536


def fields(columns: Columns, names: Sequence[str]) -> list[str]:
    """One JSON object a row: its columns in this order, numbers as the file writes them, missing values as null."""
    texts = [numerals.feature_text(columns, name) for name in names]
    keys = [json.dumps(name, ensure_ascii=False) + ": " for name in names]
    before = [_scalar(("{" if place == 0 else ", ") + key) for place, key in enumerate(keys)]
    found: list[str] = []
    for start in range(0, len(columns), _SLICE):
        parts = [part for key, text in zip(before, texts, strict=True) for part in (key, _values(text, start))]
        found += pc.binary_join_element_wise(*parts, _scalar("}"), _scalar("")).to_pylist()
    return found


def _scalar(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())


def _values(column: pa.Array, start: int) -> pa.Array:
    text = column.slice(start, _SLICE)
    numbers = pc.match_substring_regex(text, _NUMBER)
    if not pc.all(numbers).as_py():
        # Few different ones, as a column of categories has.
        encoded = text.dictionary_encode()
        quoted = [json.dumps(value, ensure_ascii=False) for value in encoded.dictionary.to_pylist()]
        text = pc.if_else(numbers, text, pa.array(quoted, pa.large_string()).take(encoded.indices))
    return text.fill_null("null")
