"""What the data sets of image files have in common: a list of named files becomes a split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.config import DatasetConfig
from tasks.datasets import decode
from tasks.datasets.source import Source, Split
from tasks.errors import DataError
from tasks.task_type.classification import UNKNOWN, Classification


@dataclass(frozen=True)
class Listed:
    """Image files with their class names; position i of every list speaks of the same item."""

    ids: list[str]
    uris: list[str]
    #: Real paths.
    paths: list[str]
    #: None where nobody knows.
    names: list[str | None]
    #: Every class that is named, and where first.
    declared: Mapping[str, str]
    #: Names item i in messages.
    where: Callable[[int], str]


def source(config: DatasetConfig, pool: Listed, test: Listed) -> Source:
    """Settle the classes and check both lists against them.

    The classes are dataset.classes, else the sorted names in the pool, else (no labels there) in the held-out set.

    Raises:
        DataError: an unknown class, or a held-out item without a label.
    """
    classes = config.classes or tuple(sorted(pool.declared or test.declared))
    origin = "dataset.classes" if config.classes else "the pool"
    for listed in (pool, test):
        _check_classes(listed.declared, classes, origin)
    for row, name in enumerate(test.names):
        if name is None:
            raise DataError(f"{test.where(row)}: no label; every held-out item needs one")
    shape = (config.channels, config.image_size, config.image_size)
    return Source(Classification(tuple(classes)), shape, _split(config, pool, classes), _split(config, test, classes))


def _check_classes(declared: Mapping[str, str], classes: Sequence[str], origin: str) -> None:
    for name, where in declared.items():
        if name != name.strip():
            raise DataError(f"{where}: class {name!r} begins or ends with white space, which no answer can; rename it")
        if name not in classes:
            known = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
            raise DataError(f"{where}: class {name!r} is not in {origin} ({known}); correct it or set dataset.classes")


def _split(config: DatasetConfig, listed: Listed, classes: Sequence[str]) -> Split:
    positions: dict[str | None, int] = {name: position for position, name in enumerate(classes)}
    positions[None] = UNKNOWN
    labels: npt.NDArray[np.int64] = np.array([positions[name] for name in listed.names], np.int64)
    return Split(listed.ids, listed.uris, labels, decode.reader(listed.paths, listed.where, config))
