"""Image files named by two CSV or Parquet files with the columns path, id (else the path) and label."""

from pathlib import Path

from tasks.config import DatasetConfig
from tasks.datasets import columns, listed, rows
from tasks.datasets.inside import Inside, find_root
from tasks.datasets.source import Source
from tasks.errors import DataError

_ENDINGS = (".csv", ".parquet")


def load(config: DatasetConfig, places: list[Path]) -> Source:
    """The images that two manifests name, in the order of their rows.

    dataset.pool and dataset.test may leave out the ending of the file. White space around a field does not count, and
    a blank label means unknown.

    Raises:
        DataError: a manifest is missing or damaged, or one of its rows is at fault; the row is named.
    """
    root = find_root(config, places, rows.candidates(config.pool, _ENDINGS))
    pool = _listing(root, rows.located(root, config.pool, "dataset.pool", _ENDINGS), labelled=False)
    test = _listing(root, rows.located(root, config.test, "dataset.test", _ENDINGS), labelled=True)
    return listed.source(config, pool, test)


def _listing(root: Inside, file: Path, labelled: bool) -> listed.Listed:
    required = ["path", "label"] if labelled else ["path"]
    read = columns.read(file, required, ["id"] if labelled else ["id", "label"])
    relative = [_filled(read, row, "path", value) for row, value in enumerate(read.values["path"])]
    ids = [_filled(read, row, "id", value) for row, value in enumerate(read.values.get("id", relative))]
    _check_unique(read, ids)
    names = [_stripped(value) for value in read.values.get("label", [None] * len(ids))]
    declared: dict[str, str] = {}
    for row, name in enumerate(names):
        if name is not None and name not in declared:
            declared[name] = read.where(row)
    paths = [root.file(value, read.where(row)) for row, value in enumerate(relative)]
    return listed.Listed(ids, relative, paths, names, declared, read.where)


def _stripped(value: str | None) -> str | None:
    return (value or "").strip() or None


def _filled(read: columns.Columns, row: int, column: str, value: str | None) -> str:
    filled = _stripped(value)
    if filled is None:
        raise DataError(f"{read.where(row)}: blank {column}; fill it in or take the row out")
    return filled


def _check_unique(read: columns.Columns, ids: list[str]) -> None:
    first: dict[str, int] = {}
    for row, id_ in enumerate(ids):
        if first.setdefault(id_, row) != row:
            raise DataError(f"{read.where(row)}: id {id_!r} stands already in row {first[id_] + 1}; ids must differ")
