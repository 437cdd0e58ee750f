"""Labels of rows of files: classes or numbers, with every fault named by its row."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.config import DatasetConfig
from tasks.datasets import numerals
from tasks.datasets.columns import Columns
from tasks.errors import ConfigError, DataError
from tasks.task_type import TaskType
from tasks.task_type.classification import UNKNOWN, Classification
from tasks.task_type.regression import Regression

#: int64 or float64, one a row.
Labels = npt.NDArray[Any]


@dataclass(frozen=True)
class Labelled:
    """What is to be learnt, and what is known of it."""

    task: TaskType
    pool: Labels
    test: Labels


@dataclass(frozen=True)
class _Names:
    """Class names of the rows of a file, without the white space around them."""

    columns: Columns
    #: Those that differ, in the order in which they appear; blank where nobody knows.
    values: list[str]
    #: int64: of each row, its place in them; -1 where there is none.
    codes: npt.NDArray[np.int64]

    def where(self, name: str) -> str:
        """The first row of a class."""
        places = [place for place, value in enumerate(self.values) if value == name]
        return self.columns.where(int(np.flatnonzero(np.isin(self.codes, places))[0]))

    @property
    def known(self) -> list[str]:
        return sorted({value for value in self.values if value})


def classes(config: DatasetConfig, pool: Columns, test: Columns, label: str) -> Labelled:
    """Classes are dataset.classes, else the sorted names in the pool, else (no labels there) in the held-out set.

    Blank labels are unknown. Without dataset.classes, a class that only one of the two files has is refused: of one
    that is not held out nobody could say how well it is predicted.

    Args:
        config: dataset.classes.
        pool: it need not have labels.
        test: here every row has one.
        label: the column.

    Raises:
        DataError: an unknown class, one that stands in the pool only, or a held-out row without a label.
        ConfigError: dataset.bounds is set.
    """
    if config.bounds is not None:
        raise ConfigError("dataset.bounds: classes have no bounds; remove the key, or set task=regression")
    names = [_names(columns, label) for columns in (pool, test)]
    found = config.classes or tuple(names[0].known or names[1].known)
    origin = "dataset.classes" if config.classes else "the pool"
    index = {name: place for place, name in enumerate(found)}
    labels = [_indices(each, index, origin, "; correct it or set dataset.classes") for each in names]
    _check_complete(test, labels[1] == UNKNOWN)
    alone = [name for name in names[0].known if name not in names[1].known]
    if alone and not config.classes:
        raise DataError(
            f"{names[0].where(alone[0])}: class {alone[0]!r} is not in {test.file}, so nothing could tell how well it "
            "is predicted; hold an item of it out, take it out of the pool, or list every class in dataset.classes"
        )
    return Labelled(Classification(found), *labels)


def coded(codes: Mapping[str, str], pool: Columns, test: Columns, label: str) -> Labelled:
    """The classes of a published data set, whose names (the values of ``codes``) its files leave out.

    Raises:
        DataError: a label is not a key of ``codes``, or a held-out row has none.
    """
    index = {code: place for place, code in enumerate(codes)}
    mend = "; it is not the published file, fetch it again"
    labels = [_indices(_names(columns, label), index, "the data set's", mend) for columns in (pool, test)]
    for columns, known in zip((pool, test), labels, strict=True):
        _check_complete(columns, known == UNKNOWN)
    return Labelled(Classification(tuple(codes.values())), *labels)


def _names(columns: Columns, label: str) -> _Names:
    if label not in columns.stored:
        return _Names(columns, [], np.full(len(columns), UNKNOWN, np.int64))
    encoded = columns.text(label).dictionary_encode()
    codes = pc.cast(encoded.indices.fill_null(-1), pa.int64()).to_numpy()
    return _Names(columns, [value.strip() for value in encoded.dictionary.to_pylist()], codes)


def _indices(names: _Names, index: Mapping[str, int], origin: str, mend: str) -> npt.NDArray[np.int64]:
    for name in names.values:
        if name and name not in index:
            known = ", ".join(list(index)[:10]) + (", …" if len(index) > 10 else "")
            raise DataError(f"{names.where(name)}: class {name!r} is not in {origin} ({known}){mend}")
    # The last one is for rows without a label, whose place is -1.
    places = np.array([*(index.get(name, UNKNOWN) for name in names.values), UNKNOWN], np.int64)
    found: npt.NDArray[np.int64] = places[names.codes]
    return found


def _check_complete(columns: Columns, unknown: npt.NDArray[np.bool_]) -> None:
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        raise DataError(f"{columns.where(row)}: no label; every held-out item needs one")


def numbers(config: DatasetConfig, pool: Columns, test: Columns, label: str) -> Labelled:
    """Labels are finite numbers inside dataset.bounds; blank ones, and NaN in a Parquet file, are unknown.

    Args:
        config: dataset.bounds.
        pool: it need not have labels.
        test: here every row has one.
        label: the column.

    Raises:
        DataError: a label is not such a number, a held-out row has none, or all held-out labels are equal.
        ConfigError: dataset.classes is set, or dataset.bounds are not two finite numbers in order.
    """
    if config.classes is not None:
        raise ConfigError(
            "dataset.classes: the labels of a regression are numbers; remove the key, or set task=classification"
        )
    if config.bounds is not None and not -math.inf < config.bounds[0] < config.bounds[1] < math.inf:
        raise ConfigError("dataset.bounds: must be two finite numbers, the lower one first")
    task = Regression(label, config.bounds)
    known = [_numbers(task, columns, label) for columns in (pool, test)]
    _check_complete(test, np.isnan(known[1]))
    if len(test) and (known[1] == known[1][0]).all():
        raise DataError(
            f"{test.file}: every {label!r} is {known[1][0]:g}, and R² measures how well differences are predicted; "
            "hold out items whose labels differ"
        )
    return Labelled(task, *known)


def _numbers(task: Regression, columns: Columns, label: str) -> npt.NDArray[np.float64]:
    if label not in columns.stored:
        return np.full(len(columns), np.nan)
    read = numerals.read(columns, label)
    values = read.values.copy()
    # These few are looked at as answers of people are, with the same words for what is wrong.
    for row in np.flatnonzero(~read.missing & task.wrong(values)).tolist():
        try:
            values[row] = task.parsed(str(columns.stored[label][row].as_py()).strip())
        except ValueError as error:
            raise DataError(f"{columns.where(row)}: {error}") from None
    return values
