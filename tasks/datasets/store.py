"""The pool and the held-out set as arrays, aligned by id."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.datasets import kept
from tasks.datasets.opening import open_source
from tasks.datasets.scratch import scratch
from tasks.datasets.source import Decoded, Kind
from tasks.errors import DataError
from tasks.rounds import Workspace, load_config
from tasks.task_type import TaskType, from_description

SplitName = Literal["pool", "test"]

_TABLES: dict[SplitName, str] = {"pool": "manifest.parquet", "test": "test.parquet"}


@dataclass(frozen=True)
class PoolInfo:
    """What pool.json says."""

    dataset: str
    task: TaskType
    #: Of one item as it is kept: (channels, height, width) of images, (columns,) of numbers, () of texts.
    shape: tuple[int, ...]
    dtype: str
    #: One number a channel of images, on the scale 0..1, or a column of numbers.
    mean: tuple[float, ...]
    std: tuple[float, ...]
    items: int
    held_out: int
    known_labels: int
    #: SHA-256 over both manifests, the classes and the shape.
    digest: str
    kind: Kind = "images"


@dataclass(frozen=True)
class Items:
    """Decoded items in the order of their ids, whatever the order of the manifest's rows."""

    #: string, (n,).
    ids: pa.Array
    #: Of n items, read-only: images as uint8 (n, channels, height, width), numbers as float32 (n, columns), or
    #: ``Texts``.
    array: Any

    def rows(self, ids: pa.Array | pa.ChunkedArray | Sequence[str]) -> npt.NDArray[np.int64]:
        """Positions of ``ids``, int64 in their order.

        Raises:
            DataError: an id is not among the items; the first such is named.
        """
        wanted = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids, pa.string())
        if isinstance(wanted, pa.ChunkedArray):
            wanted = wanted.combine_chunks()
        positions = _positions(wanted.cast(pa.string()), self.ids)
        if positions.null_count:
            first = wanted[pc.index(positions.is_null(), True).as_py()].as_py()
            raise DataError(f"id {first!r} is not in the data set; restore the workspace's files with `dvc checkout`")
        found: npt.NDArray[np.int64] = positions.to_numpy(zero_copy_only=False).astype(np.int64)
        return found


def _positions(wanted: pa.Array, ids: pa.Array) -> pa.Array:
    # A hash table takes several times the room of its ids, so it is made of the few where they are few.
    if len(wanted) > len(ids) // 8:
        return pc.index_in(wanted, value_set=ids)
    kept = pc.indices_nonzero(pc.is_in(ids, value_set=wanted))
    return kept.take(pc.index_in(wanted, value_set=ids.take(kept)))


def load_info(workspace: Workspace) -> PoolInfo:
    """Read pool.json.

    Raises:
        DataError: it is missing or damaged.
    """
    path = workspace.pool / "pool.json"
    values = files.read_json(path)
    try:
        task = from_description(values, str(path))
        described = task.described().keys()
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in values.items()
            if key not in described
        }
        return PoolInfo(task=task, **fields)
    except (DataError, TypeError, AttributeError):
        raise DataError(f"{path}: not what the pool stage writes; restore it with `dvc checkout`") from None


def load_task(workspace: Workspace) -> TaskType:
    """What a label of the workspace's pool is.

    Raises:
        DataError: pool.json is missing or damaged.
    """
    path = workspace.pool / "pool.json"
    return from_description(files.read_object(path), str(path))


def by_id(ids: pa.Array) -> npt.NDArray[np.int64]:
    """Positions that put ``ids``, string (n,), into ascending order: int64 (n,)."""
    if pc.all(pc.less(ids[:-1], ids[1:])).as_py() is not False:
        return np.arange(len(ids), dtype=np.int64)
    order: npt.NDArray[np.int64] = pc.sort_indices(ids).to_numpy().astype(np.int64)
    return order


def array_path(workspace: Workspace, split: SplitName, digest: str, kind: Kind = "images") -> Path:
    """Where the decoded items of a split are kept; the file can be deleted at any time."""
    # An earlier release wrote files without "by-id", in the order of the data set.
    return workspace.raw / "arrays" / f"{split}-by-id-{digest}{kept.SUFFIXES[kind]}"


def load_items(workspace: Workspace, split: SplitName) -> Items:
    """The decoded items of a split, rebuilt from the data set where the kept array is absent or not whole.

    They were decoded once into a file, which is mapped: where they fit in memory, the operating system's page cache
    holds them after the first look, shared by all processes; where they do not, it holds what was used last. Rows are
    copied where they are used.

    Raises:
        DataError: the data set is missing, damaged, or not the one that the manifest describes.
    """
    info = load_info(workspace)
    manifest = files.read_table(workspace.pool / _TABLES[split], ["id"])
    path = array_path(workspace, split, info.digest, info.kind)
    array = kept.open_whole(path, info.kind, len(manifest), info.shape)
    if array is None:
        _rebuild(workspace, split, path)
        array = kept.open_whole(path, info.kind, len(manifest), info.shape)
        if array is None:
            raise DataError(f"{path}: changed while it was written; run the same command again")
    ids = manifest["id"].combine_chunks()
    return Items(ids.take(by_id(ids)), array)


def _rebuild(workspace: Workspace, split: SplitName, path: Path) -> None:
    manifest = files.read_table(workspace.pool / _TABLES[split], ["id", "sha256"]).combine_chunks()
    manifest = manifest.take(by_id(manifest["id"].combine_chunks()))
    info = load_info(workspace)
    source = open_source(workspace, load_config(workspace))
    if source.kind != info.kind:
        raise DataError(_changed(workspace, split, f"its items are {source.kind}, not {info.kind}"))
    if source.shape != info.shape:
        raise DataError(_changed(workspace, split, f"its items have the shape {source.shape}, not {info.shape}"))
    items = source.pool if split == "pool" else source.test
    order = by_id(pa.array(items.ids, pa.string()))
    ids = [items.ids[position] for position in order]
    _check_equal(workspace, split, manifest["id"].to_pylist(), ids, ids)
    with scratch(path.parent, ".building-") as folder:
        built = folder / path.name
        decoded: list[Decoded] = []
        files.write_atomic(
            built, lambda target: decoded.append(kept.write(target, source.kind, items, source.shape, order))
        )
        sha256 = [decoded[0].sha256[position] for position in order]
        _check_equal(workspace, split, manifest["sha256"].to_pylist(), sha256, ids)
        built.replace(path)


def _check_equal(workspace: Workspace, split: SplitName, expected: list[Any], got: list[Any], ids: list[str]) -> None:
    if len(expected) != len(got):
        raise DataError(_changed(workspace, split, f"it has {len(got)} items, not {len(expected)}"))
    for id_, before, now in zip(ids, expected, got, strict=True):
        if before != now:
            raise DataError(_changed(workspace, split, f"item {id_!r} is not the one that was there"))


def _changed(workspace: Workspace, split: SplitName, how: str) -> str:
    table = workspace.pool / _TABLES[split]
    return (
        f"the data set is not the one in {table}: {how}; restore the data, or start a new loop with `frugal init DIR`"
    )
