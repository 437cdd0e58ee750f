"""The acquisition cache: of each unlabelled item the last value that was computed, and where it came from."""

from collections.abc import Callable, Sequence
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
        DataError: the file is missing or damaged, comes from another pool or another acquisition function, names an
            item twice, or holds a value that cannot be; the item is named.
    """
    there = files.column_names(path)
    if lacking := sorted(set(_NEEDED) - set(there)):
        raise DataError(f"{path}: lacks the column {lacking[0]!r}; restore it with `dvc checkout`")
    table = files.read_table(path, [name for name in columns if name in there])
    about = table.schema.metadata or {}
    for key, wanted in (("acquisition", acquisition), ("pool", pool)):
        found = about.get(f"frugal.{key}".encode(), b"").decode(errors="replace")
        # A cache that an earlier release wrote says neither.
        if found and wanted is not None and found != wanted:
            raise DataError(
                f"{path}: holds values of the {key} {found!r}, not of {wanted!r}; restore it with `dvc checkout`, or "
                "start a new loop with `frugal init DIR`"
            )
    try:
        table = _in_columns(table, columns)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: a column is not of its type ({reason}); restore it with `dvc checkout`") from None
    _check_ids(path, table)
    _check_values(path, table)
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


def check_pool(path: Path, cache: pa.Table, ids: pa.Array, manifest: Path) -> None:
    """Refuse a cache of items none of which is in the pool: it belongs to another one, whatever it says.

    Args:
        ids: those of the unlabelled items; a cache that knows one of them is the pool's.
        manifest: of the whole pool; read only where the cache knows none of ``ids``, as may be where few were scored.

    Raises:
        DataError: as said; an empty cache is nobody's.
    """
    known = cache["id"].combine_chunks()
    if not len(known) or not len(ids) or pc.any(pc.is_in(ids, value_set=known)).as_py():
        return
    if not pc.any(pc.is_in(files.read_table(manifest, ["id"])["id"], value_set=known)).as_py():
        raise DataError(f"{path}: knows no item of the pool, so it belongs to another; restore it with `dvc checkout`")


def _check_ids(path: Path, table: pa.Table) -> None:
    ids = table["id"].combine_chunks()
    if ids.null_count:
        raise DataError(f"{path}: has a row without an id; restore it with `dvc checkout`")
    if len(distinct := pc.unique(ids)) < len(ids):
        counted = pc.value_counts(ids)
        twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))[0].as_py()
        raise DataError(
            f"{path}: item {twice!r} stands there more than once ({len(ids) - len(distinct)} rows too many); restore "
            "it with `dvc checkout`"
        )


#: What a value must be, by column, and in words.
_POSSIBLE: dict[str, tuple[Callable[[npt.NDArray[Any]], npt.NDArray[np.bool_]], str]] = {
    "score": (np.isfinite, "a finite number"),
    "scored_round": (lambda rounds: rounds >= 0, "a round"),
    "proposal": (lambda classes: classes >= 0, "the number of a class"),
    "confidence": (lambda shares: (shares >= 0) & (shares <= 1), "a probability"),
}


def _check_values(path: Path, table: pa.Table) -> None:
    for name in [name for name in _POSSIBLE if name in table.column_names]:
        possible, what = _POSSIBLE[name]
        column_ = table[name].combine_chunks()
        # A null is no more possible than these.
        missing = np.nan if pa.types.is_floating(column_.type) else -1
        values = column_.fill_null(missing).to_numpy(zero_copy_only=False)
        wrong = np.flatnonzero(~possible(values))
        if len(wrong):
            raise DataError(
                f"{path}: item {table['id'][int(wrong[0])].as_py()!r} has the {name} {values[wrong[0]]}, which is not "
                f"{what} ({len(wrong)} such items), and says nothing about whom to label; restore the file with "
                "`dvc checkout`"
            )
