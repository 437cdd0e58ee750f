"""Rows of numbers and categories in two CSV, JSON-lines or Parquet files, with a column of labels."""

from pathlib import Path
from typing import Literal

from tasks.config import DatasetConfig
from tasks.datasets import columns, labelled, rows, table_rows
from tasks.datasets.columns import Columns
from tasks.datasets.source import Source
from tasks.errors import ConfigError, DataError


def load(config: DatasetConfig, places: list[Path], task: Literal["classification", "regression"]) -> Source:
    """The rows that two files hold, in their order; float32 (columns,), as tasks/datasets/encoded.py says.

    dataset.pool and dataset.test may leave out the ending of the file. White space around a label or an id does not
    count, and a blank label means unknown. Without a column id rows are numbered: pool/00012, test/00012.

    Args:
        config: dataset.label and dataset.features (null: all columns of the pool but id and the label) besides.
        places: where to look.
        task: what the labels are.

    Raises:
        DataError: a file is missing or damaged, or one of its rows is at fault; the row is named.
        ConfigError: dataset.features names the label or a column twice, or the labels' settings contradict the task.
    """
    files = rows.named(config, places)
    pool = columns.read(files.pool, [], _wanted(config, config.features), config.header)
    features = config.features or _all(pool, config.label)
    test = columns.read(files.test, [], _wanted(config, features), config.header)
    for part in (pool, test):
        for name in features:
            part.require(name, "; name those that a model sees with dataset.features")
    test.require(config.label, "; name that of the labels with dataset.label")
    known = (labelled.numbers if task == "regression" else labelled.classes)(config, pool, test, config.label)
    ids = rows.ids(pool, "pool"), rows.ids(test, "test")
    return table_rows.source(files.root, (pool, test), features, known, ids)


def _wanted(config: DatasetConfig, features: tuple[str, ...] | None) -> list[str] | None:
    if features is None:
        return None
    if config.label in features:
        raise ConfigError(f"dataset.features: {config.label!r} holds the labels (dataset.label); leave it out")
    if len(set(features)) < len(features):
        raise ConfigError("dataset.features: names a column twice; keep one")
    return [*features, config.label, "id"]


def _all(pool: Columns, label: str) -> tuple[str, ...]:
    if not all(name.strip() for name in pool.header):
        raise DataError(
            f"{pool.file}: a column has no name, as the row numbers of pandas; name it, or those that a model sees "
            "with dataset.features"
        )
    return tuple(name for name in pool.header if name not in (label, "id"))
