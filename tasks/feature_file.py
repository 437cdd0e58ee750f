"""features.parquet: what a round's model made of items before its last layer; SELECT and INFER share it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks import files
from tasks.errors import DataError

Floats = npt.NDArray[np.float32]

_COLUMNS = ("id", "labeled", "features", "probabilities")


@dataclass(frozen=True)
class Features:
    """Of n items; position i of all fields speaks of the same one."""

    #: string (n,).
    ids: pa.Array
    #: bool (n,); whether the item had a label when the model was trained.
    labeled: npt.NDArray[np.bool_]
    #: float32 (n, d): penultimate features.
    features: Floats
    #: float32 (n, classes): class probabilities.
    probabilities: Floats


def write(path: Path, found: Features | None) -> None:
    """Write the file atomically; None, where nobody wants features, is a table without rows."""
    if found is None:
        none = np.empty((0, 1), dtype=np.float32)
        found = Features(pa.array([], pa.string()), np.empty(0, dtype=np.bool_), none, none)
    columns = [found.ids, pa.array(found.labeled), _lists(found.features), _lists(found.probabilities)]
    files.write_table(path, pa.table(columns, names=list(_COLUMNS)))


def read(path: Path) -> Features:
    """The whole file; its numbers are finite.

    Raises:
        DataError: the file is missing or damaged, lacks a column, holds no items, or a number that is not finite; the
            item is named.
    """
    table = files.read_table(path, list(_COLUMNS)).combine_chunks()
    if not len(table):
        raise DataError(f"{path}: holds no features to choose by; restore it with `dvc checkout`")
    ids, labels = table["id"].combine_chunks(), table["labeled"].combine_chunks()
    for name, column, kind in (("id", ids, pa.string()), ("labeled", labels, pa.bool_())):
        if column.type != kind or column.null_count:
            raise DataError(f"{path}: {name} is not what the loop writes; restore it with `dvc checkout`")
    labeled = np.asarray(labels, dtype=np.bool_)
    found = Features(ids, labeled, _matrix(path, table, "features"), _matrix(path, table, "probabilities"))
    for name, values in (("features", found.features), ("probabilities", found.probabilities)):
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(wrong):
            raise DataError(
                f"{path}: item {ids[int(wrong[0])].as_py()!r} has {name} that are not finite ({len(wrong)} such "
                "items), and says nothing about whom to label; restore the file with `dvc checkout`"
            )
    return found


def _lists(values: Floats) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])


def _matrix(path: Path, table: pa.Table, name: str) -> Floats:
    column = table[name].combine_chunks()
    if not pa.types.is_fixed_size_list(column.type) or column.type.value_type != pa.float32() or column.null_count:
        raise DataError(f"{path}: {name} is not what the loop writes; restore it with `dvc checkout`")
    values: Floats = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(table), column.type.list_size)
