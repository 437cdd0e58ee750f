"""The acquisition cache: of each unlabelled item the last value that was computed, and where it came from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.datasets.tables import scores
from tasks.errors import DataError
from tasks.task_type import TaskType

#: What every cache has had from the beginning, besides how sure its model was.
_NEEDED = {"id", "score", "scored_round", "model", "times_scored", "proposal"}


def read(
    path: Path, acquisition: str, pool: str | None, task: TaskType, columns: Sequence[str] | None = None
) -> pa.Table:
    """All rows of a scores.parquet, in ``columns`` of ``tables.scores``; those that it lacks are null.

    Args:
        acquisition: name of the acquisition function whose values are wanted.
        pool: digest of the pool whose items are wanted, as in pool.json; None if it has none.
        task: what the pool's labels are, which names and types the columns.
        columns: ``score`` among them; None: all.

    Raises:
        DataError: the file is missing or damaged, comes from another pool or another acquisition function, names an
            item twice, or holds a value that cannot be; the item is named.
    """
    there = files.column_names(path)
    if lacking := sorted((_NEEDED | {task.certainty}) - set(there)):
        raise DataError(f"{path}: lacks the column {lacking[0]!r}; restore it with `dvc checkout`")
    schema = scores(task)
    schema = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    table = files.read_table(path, [name for name in schema.names if name in there])
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
        table = _in_columns(table, schema)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: a column is not of its type ({reason}); restore it with `dvc checkout`") from None
    _check_ids(path, table)
    _check_values(path, table, task)
    return table


def write(path: Path, table: pa.Table, acquisition: str, pool: str | None) -> None:
    """Write a table in the columns of ``tables.scores`` atomically, with its function's and pool's names."""
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


def _in_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = {
        field.name: table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    }
    return pa.table(columns).cast(schema)


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


#: Which values are possible, and what they are in words.
_Possible = tuple[Callable[[npt.NDArray[Any]], npt.NDArray[np.bool_]], str]
_NUMBER: _Possible = (np.isfinite, "a finite number")
#: By column.
_POSSIBLE: dict[str, _Possible] = {
    "score": _NUMBER,
    "scored_round": (lambda rounds: rounds >= 0, "a round"),
    "confidence": (lambda shares: (shares >= 0) & (shares <= 1), "a probability"),
    "std": (lambda spreads: (spreads >= 0) & (spreads < np.inf), "a standard deviation"),
}
#: Of the column `proposal`, by what the labels are; a model may well propose a number out of their bounds.
_PROPOSAL: dict[str, _Possible] = {
    "classification": (lambda classes: classes >= 0, "the number of a class"),
    "regression": _NUMBER,
}


def _check_values(path: Path, table: pa.Table, task: TaskType) -> None:
    checks = _POSSIBLE | {"proposal": _PROPOSAL[task.name]}
    for name in [name for name in checks if name in table.column_names]:
        possible, what = checks[name]
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
