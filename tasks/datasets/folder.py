"""Image files in folders: root/<pool>/<class>/* or, without labels, root/<pool>/*; and root/<test>/<class>/*."""

# Strings, for a million files: a Path object for each of them would double the time.
# ruff: noqa: PTH110, PTH112, PTH113, PTH122, PTH208

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tasks.config import DatasetConfig
from tasks.datasets import decode, listed
from tasks.datasets.inside import Inside, find_root
from tasks.datasets.source import Source
from tasks.errors import DataError


def load(config: DatasetConfig, places: list[Path]) -> Source:
    """The images of two folders, in the order of their ids, which are their paths inside the root.

    Files with other endings than an image's, and names that begin with a dot, are passed over.

    Raises:
        DataError: a folder is missing, a class is unknown, or a path leads out of the root.
    """
    root = find_root(config, places, [config.pool])
    pool = _listing(root, config.pool, "dataset.pool")
    test = _listing(root, config.test, "dataset.test")
    return listed.source(config, pool, test)


def _listing(root: Inside, name: str, key: str) -> listed.Listed:
    folder = root.locate(name, key)
    if ".." in PurePosixPath(name).parts:
        raise DataError(f"{key}: {name!r} must name a folder inside dataset.root, without `..`")
    if not os.path.isdir(folder):
        raise DataError(f"{key}: no folder {name!r} in {root.root}; correct the key or dataset.root")
    name = PurePosixPath(name).as_posix()
    declared: dict[str, str] = {}
    found: list[tuple[str, str, str | None]] = []
    for entry in _visible(folder):
        relative = f"{name}/{entry}"
        real = root.locate(relative, str(root.root / relative))
        if os.path.isdir(real):
            declared[entry] = str(root.root / relative)
            found.extend((id_, path, entry) for id_, path in _class_files(root, relative, real))
        elif _is_image(entry):
            found.append((relative, _regular(real, str(root.root / relative)), None))
    found.sort(key=lambda item: item[0])
    ids = [id_ for id_, _, _ in found]
    return listed.Listed(
        ids=ids,
        uris=ids,
        paths=[path for _, path, _ in found],
        names=[class_name for _, _, class_name in found],
        declared=declared,
        where=lambda row: str(root.root / ids[row]),
    )


def _class_files(root: Inside, folder: str, real_folder: str) -> Iterator[tuple[str, str]]:
    for entry in _visible(real_folder):
        relative = f"{folder}/{entry}"
        where = str(root.root / relative)
        real = root.locate(relative, where)
        if os.path.isdir(real):
            raise DataError(f"{where}: a folder inside a class folder; move its images up, one folder is one class")
        if _is_image(entry):
            yield relative, _regular(real, where)


def _regular(path: str, where: str) -> str:
    # A pipe would be waited on for ever.
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f"{where}: not a regular file; replace it or take it out")
    return path


def _visible(folder: str) -> list[str]:
    try:
        return sorted(entry for entry in os.listdir(folder) if not entry.startswith((".", "__MACOSX")))
    except PermissionError:
        raise DataError(f"{folder}: may not be read; change its permissions") from None


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in decode.SUFFIXES
