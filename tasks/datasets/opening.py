"""From the configuration to a data set that is fit for a loop."""

import hashlib
import heapq
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks import registry
from tasks.config import Config, DatasetConfig
from tasks.datasets.source import Source, Split
from tasks.errors import ConfigError, DataError
from tasks.rounds import Workspace
from tasks.task_type import Classification


def places(workspace: Workspace, config: DatasetConfig) -> list[Path]:
    """The folders in which data are looked for, in order; the last one takes downloads.

    Raises:
        DataError: dataset.root is not a folder.
    """
    if config.root is not None:
        # A relative root belongs to the workspace, wherever the command is called from.
        root = workspace.root / _expanded(config.root, "dataset.root")
        if not root.is_dir():
            raise DataError(f"dataset.root: {root} is not a folder; correct the key")
        return [root, workspace.raw]
    shared = os.environ.get("FRUGAL_DATA")
    return [_expanded(shared, "FRUGAL_DATA"), workspace.raw] if shared else [workspace.raw]


def _expanded(folder: str, key: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        raise DataError(f"{key}: {folder} names the home of an unknown user; write the whole path") from None


def open_source(workspace: Workspace, config: Config) -> Source:
    """Load a data set, cut its pool to dataset.limit, and check what every data set owes.

    Raises:
        ConfigError: its labels are not what config.task says.
        DataError: it is missing or damaged, too small, or two items share an id.
    """
    data = config.dataset
    source = _loaded(config, places(workspace, data))
    if data.limit is not None:
        source = replace(source, pool=_limited(source.pool, data.limit))
    _check_task(source, config)
    _check_spaces(source, data)
    if not source.pool.ids or not source.test.ids:
        empty = "held-out set" if source.pool.ids else "pool"
        raise DataError(f"{data.name}: no items in the {empty}; correct dataset.root, dataset.pool or dataset.test")
    _check_ids(source, data)
    if not source.task.known(source.test.labels).all():
        raise DataError(f"{data.name}: held-out items without a label; every one needs one")
    return source


def _loaded(config: Config, folders: list[Path]) -> Source:
    load = registry.resolve(registry.DATASETS, config.dataset.name)
    if config.dataset.name in registry.OF_EITHER_TASK:
        either: Source = load(config.dataset, folders, config.task)
        return either
    source: Source = load(config.dataset, folders)
    return source


def _check_task(source: Source, config: Config) -> None:
    if source.task.name != config.task:
        raise ConfigError(
            f"task: {config.task} is not what {config.dataset.name} is for; set task={source.task.name}, or choose "
            "another dataset"
        )
    if isinstance(source.task, Classification):
        _check_classes(source.task.classes, config.dataset)


def _limited(split: Split, limit: int) -> Split:
    # Pools are often sorted by class, so the first items would not do; the hash of its id picks an item by nothing
    # that matters, and on every machine alike.
    def key(row: int) -> bytes:
        return hashlib.sha256(split.ids[row].encode()).digest()

    kept = np.array(sorted(heapq.nsmallest(limit, range(len(split.ids)), key)), np.int64)
    return Split(
        ids=[split.ids[row] for row in kept],
        uris=[split.uris[row] for row in kept],
        labels=split.labels[kept],
        read=lambda rows: split.read(kept[rows]),
        fields=None if split.fields is None else [split.fields[row] for row in kept],
    )


def _check_classes(classes: tuple[str, ...], config: DatasetConfig) -> None:
    if config.classes is not None and classes != config.classes:
        raise DataError(f"dataset.classes: {config.name} brings its own ({', '.join(classes)}); remove the key")
    if len(set(classes)) < len(classes):
        raise DataError(f"dataset.classes: a class stands twice in {', '.join(classes)}")
    if len(classes) < 2:
        named = ", ".join(classes) or "none"
        raise DataError(f"{config.name}: needs two classes or more, found {named}; name them with dataset.classes")


def _check_spaces(source: Source, config: DatasetConfig) -> None:
    # People's answers are read without the white space around them.
    classes = source.task.classes if isinstance(source.task, Classification) else ()
    for kind, texts in (("class", classes), ("id", source.pool.ids), ("id", source.test.ids)):
        for text in texts:
            if text != text.strip():
                raise DataError(
                    f"{config.name}: {kind} {text!r} begins or ends with white space, which no answer can; rename it"
                )


def _check_ids(source: Source, config: DatasetConfig) -> None:
    ids = pa.array(source.pool.ids + source.test.ids, pa.string())
    counted = pc.value_counts(ids)
    repeated = counted.filter(pc.greater(counted.field("counts"), 1))
    if len(repeated):
        raise DataError(
            f"{config.name}: id {repeated[0]['values'].as_py()!r} stands {repeated[0]['counts']} times in the pool and "
            "the held-out set; ids must differ"
        )
