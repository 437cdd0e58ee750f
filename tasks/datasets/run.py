"""The stage `pool`: the data set as manifests, statistics and arrays."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks import files
from tasks.config import DatasetConfig
from tasks.cost import ledger
from tasks.datasets import arrays
from tasks.datasets.arrays import Decoded
from tasks.datasets.opening import open_source
from tasks.datasets.scratch import scratch
from tasks.datasets.source import UNKNOWN, Source
from tasks.datasets.store import SplitName, array_path, by_id
from tasks.datasets.tables import LABELED, SCORES, UNLABELED
from tasks.errors import DataError
from tasks.rounds import Workspace

_SPLITS: tuple[SplitName, ...] = ("pool", "test")


def run(workspace: Workspace, config: DatasetConfig, accept: Callable[[Source], None] | None = None) -> None:
    """Write data/pool, all of it or nothing, and keep the decoded arrays in data/raw.

    Args:
        workspace: where to; the caller holds it.
        config: which data set.
        accept: called with the opened data set before anything is decoded; raises to refuse it.

    Raises:
        DataError: the data are missing, damaged or contradictory; nothing was written.
        DiskFullError: no room; nothing was written.
    """
    source = open_source(workspace, config)
    if accept is not None:
        accept(source)
    with (
        scratch(workspace.pool.parent, ".pool-") as folder,
        scratch(workspace.raw / "arrays", ".building-") as building,
    ):
        decoded: dict[SplitName, Decoded] = {}
        for split in _SPLITS:
            decoded[split] = _decode(building, split, source)
        digest = _write_files(folder, config, source, decoded)
        _check_unchanged(workspace, folder)
        for split in _SPLITS:
            (building / f"{split}.npy").replace(array_path(workspace, split, digest))
        _install(folder, workspace.pool)


def _check_unchanged(workspace: Workspace, folder: Path) -> None:
    """Refuse another pool for a loop that has already selected from one, whose files' digests stand on its bill.

    Raises:
        DataError: a file differs.
    """
    entry = ledger.entry(workspace.round_dir(0), "select")
    for name, digest in (entry["inputs"] if entry else {}).items():
        path = folder / Path(name).name
        if name.startswith("data/pool/") and path.exists() and files.digest(path) != digest:
            raise DataError(
                f"{workspace.pool}: the data set has changed since the loop began ({name} comes out otherwise); "
                "bring the data back as they were, or start a new loop"
            )


def _decode(building: Path, split: SplitName, source: Source) -> Decoded:
    items = source.pool if split == "pool" else source.test
    order = by_id(pa.array(items.ids, pa.string()))
    seen: list[Decoded] = []
    target = building / f"{split}.npy"
    files.write_atomic(target, lambda temporary: seen.append(arrays.write(temporary, items, source.shape, order)))
    return seen[0]


def _write_files(folder: Path, config: DatasetConfig, source: Source, decoded: dict[SplitName, Decoded]) -> str:
    pool, test, known = source.pool, source.test, np.flatnonzero(source.pool.labels != UNKNOWN)
    ids = pa.array(pool.ids, pa.string())
    manifest = pa.table({"id": ids, "uri": pool.uris, "sha256": decoded["pool"].sha256})
    held_out = pa.table(
        {"id": test.ids, "uri": test.uris, "sha256": decoded["test"].sha256, "label": pa.array(test.labels, pa.int64())}
    )
    tables = {
        "manifest.parquet": manifest,
        "test.parquet": held_out,
        "oracle.parquet": pa.table({"id": ids.take(known), "label": pa.array(pool.labels[known], pa.int64())}),
        "start/labeled.parquet": LABELED.empty_table(),
        "start/unlabeled.parquet": pa.table({"id": ids}, UNLABELED),
        "start/scores.parquet": SCORES.empty_table(),
    }
    for name, table in tables.items():
        files.write_table(folder / name, table)
    mean, std = decoded["pool"].moments()
    info = {
        "dataset": config.name,
        "classes": list(source.classes),
        "shape": list(source.shape),
        "dtype": "uint8",
        "mean": mean,
        "std": std,
        "items": len(pool.ids),
        "held_out": len(test.ids),
        "known_labels": len(known),
        "digest": _digest(source, (manifest, held_out)),
    }
    files.write_json(folder / "pool.json", info)
    return str(info["digest"])


def _digest(source: Source, tables: tuple[pa.Table, ...]) -> str:
    # Over the content and not the Parquet files, whose bytes change with the version of the writer.
    running = hashlib.sha256(json.dumps([source.classes, source.shape]).encode())
    for table in tables:
        for batch in table.to_batches(max_chunksize=4096):
            running.update(json.dumps(list(batch.to_pydict().values())).encode())
    return running.hexdigest()


def _install(built: Path, target: Path) -> None:
    built.chmod(0o755)
    if not target.exists():
        built.rename(target)
        return
    # DVC keeps a .gitignore in the folder, so its files are replaced one by one. pool.json goes first and comes last:
    # without it nobody takes the folder for finished.
    (target / "pool.json").unlink(missing_ok=True)
    tables = sorted(path.relative_to(built) for path in built.rglob("*.parquet"))
    for name in [*tables, Path("pool.json")]:
        (target / name).parent.mkdir(exist_ok=True)
        (built / name).replace(target / name)
