"""Rows as CSV text: equal rows give equal bytes."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from tasks.task_type.headline import ACCURACY, Headline

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def to_csv(kind: type["DataclassInstance"], rows: Sequence["DataclassInstance"], of: Headline = ACCURACY) -> bytes:
    """A header with the names of the fields, then one line a row; UTF-8, nothing for null, six digits at most.

    Args:
        of: by which the fields are named, and those left out that there are none of.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(of.shown({field.name: None for field in fields(kind)}))
    writer.writerows([_text(value) for value in of.shown(asdict(row)).values()] for row in rows)
    return text.getvalue().encode()


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        # z: what is rounded to zero has no sign.
        return f"{value:z.6f}".rstrip("0").rstrip(".")
    return str(value)
