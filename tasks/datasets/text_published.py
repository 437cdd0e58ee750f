"""Published sets of texts, whose files have labels in place of class names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tasks.config import DatasetConfig
from tasks.datasets import columns, labelled, rows, text_rows
from tasks.datasets.source import Source, Split


@dataclass(frozen=True)
class Published:
    """How one is stored; paths are relative to the folder that holds it."""

    pool: str
    test: str
    #: The class that each label means; in the order of the classes.
    classes: Mapping[str, str]
    #: Columns that make up a text.
    text: tuple[str, ...] = ("text",)
    #: Column of the labels.
    label: str = "label"
    #: The columns of CSV files that do not name them.
    header: tuple[str, ...] | None = None
    #: What is done to the texts last.
    decode: Callable[[pa.Array], pa.Array] = lambda texts: texts

    def load(self, config: DatasetConfig, places: list[Path]) -> Source:
        """All of it, in its own order: ids such as train/00012, after the names of the files.

        Raises:
            DataError: it is not found, or damaged.
        """
        root = rows.published(config, places, self.pool, self.test)
        wanted = [*self.text, self.label]
        pool, test = (columns.read(root / name, wanted, [], self.header) for name in (self.pool, self.test))
        known = labelled.coded(self.classes, pool, test, self.label)

        def split(part: columns.Columns, labels: labelled.Labels) -> Split:
            texts = self.decode(text_rows.joined(part, self.text))
            ids = rows.numbered(part.file.name.partition(".")[0], len(part))
            return text_rows.split(root, part, texts, labels, ids)

        return Source(known.task, (), split(pool, known.pool), split(test, known.test), "texts")
