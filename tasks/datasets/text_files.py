"""Texts in two CSV, JSON-lines or Parquet files, with the columns that dataset.text and dataset.label name, and id."""

from pathlib import Path

from tasks.config import DatasetConfig
from tasks.datasets import columns, labelled, rows, text_rows
from tasks.datasets.source import Source
from tasks.errors import ConfigError


def load(config: DatasetConfig, places: list[Path]) -> Source:
    """The texts that two files hold, in the order of their rows, to be classified.

    dataset.pool and dataset.test may leave out the ending of the file. White space around a label or an id does not
    count, and a blank label means unknown. Without a column id rows are numbered: pool/00012, test/00012.

    Raises:
        DataError: a file is missing or damaged, or one of its rows is at fault; the row is named.
        ConfigError: the texts would hold the labels.
    """
    if config.label in config.text:
        raise ConfigError(f"dataset.text: {config.label!r} holds the labels (dataset.label); leave it out")
    files = rows.named(config, places)
    optional = [*config.text, config.label, "id"]
    pool, test = (columns.read(file, [], optional, config.header) for file in (files.pool, files.test))
    texts = [text_rows.joined(each, config.text) for each in (pool, test)]
    test.require(config.label, "; name that of the labels with dataset.label")
    known = labelled.classes(config, pool, test, config.label)
    return Source(
        known.task,
        (),
        text_rows.split(files.root, pool, texts[0], known.pool, rows.ids(pool, "pool")),
        text_rows.split(files.root, test, texts[1], known.test, rows.ids(test, "test")),
        "texts",
    )
