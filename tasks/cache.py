"""The acquisition cache: of each unlabelled item the last value that was computed, and where it came from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.datasets.tables import SCORES
from tasks.errors import DataError

#: What every cache has had from the beginning.
_NEEDED = ("id", "score", "scored_round", "model", "times_scored", "proposal", "confidence")


def read(path: Path, acquisition: str, pool: str | None, columns: Sequence[str] = SCORES.names) -> pa.Table:
    """All rows of a scores.parquet, in ``columns`` of ``SCORES``; those that it lacks are null.

    Args:
        columns: ``score`` among them.
        acquisition: name of the acquisition function whose values are wanted.
        pool: digest of the pool whose items are wanted, as in pool.json; None if it has none.

    Raises:
        DataError: the file is missing or damaged, comes from another pool or another acquisition function, or holds a
            value that is not finite; the item is named.
    """
    there = files.column_names(path)
    if lacking := sorted(set(_NEEDED) - set(there)):
        raise DataError(f"{path}: lacks the column {lacking[0]!r}; restore it with `dvc checkout`")
    table = files.read_table(path, [name for name in columns if name in there])
    about = table.schema.metadata or {}
    for key, wanted in (("acquisition", acquisition), ("pool", pool)):
        found = about.get(f"frugal.{key}".encode(), b"").decode()
        # A cache that an earlier release wrote says neither.
        if found and wanted is not None and found != wanted:
            raise DataError(
                f"{path}: holds values of the {key} {found!r}, not of {wanted!r}; restore it with `dvc checkout`, or "
                "start a new loop with `frugal init DIR`"
            )
    table = _in_columns(table, columns)
    _check_finite(path, table)
    return table


def write(path: Path, table: pa.Table, acquisition: str, pool: str | None) -> None:
    """Write a table in the columns of ``SCORES`` atomically, with the names of its acquisition function and pool."""
    about = {"frugal.acquisition": acquisition} | ({"frugal.pool": pool} if pool is not None else {})
    files.write_table(path, table.replace_schema_metadata(about))


def rows(cache: pa.Table, ids: pa.Array) -> pa.Array:
    """Where each id stands in the cache: int32, null for an id that is not there."""
    return pc.index_in(ids, value_set=cache["id"].combine_chunks())


def column(cache: pa.Table, rows_: pa.Array, name: str, missing: float | int) -> npt.NDArray[Any]:
    """One column at ``rows_``, with ``missing`` where the row or its value is null."""
    values = cache[name].combine_chunks().take(rows_)
    filled: npt.NDArray[Any] = values.fill_null(pa.scalar(missing, values.type)).to_numpy(zero_copy_only=False)
    return filled


def _in_columns(table: pa.Table, names: Sequence[str]) -> pa.Table:
    fields = [SCORES.field(name) for name in names]
    columns = {
        field.name: table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in fields
    }
    return pa.table(columns).cast(pa.schema(fields))


def _check_finite(path: Path, table: pa.Table) -> None:
    scores = table["score"].to_numpy()
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise DataError(
            f"{path}: item {table['id'][int(wrong[0])].as_py()!r} has the value {scores[wrong[0]]} ({len(wrong)} such "
            "items), which says nothing about whom to label; restore the file with `dvc checkout`"
        )
