"""The stage `pool`: the data set as manifests, statistics and arrays."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks import files
from tasks.config import Config
from tasks.cost import ledger
from tasks.datasets import kept
from tasks.datasets.opening import open_source
from tasks.datasets.scratch import scratch
from tasks.datasets.source import Decoded, Source, Split
from tasks.datasets.store import SplitName, array_path, by_id
from tasks.datasets.tables import UNLABELED, labeled, scores
from tasks.errors import DataError
from tasks.rounds import Workspace

_SPLITS: tuple[SplitName, ...] = ("pool", "test")


def run(workspace: Workspace, config: Config, accept: Callable[[Source], None] | None = None) -> None:
    """Write data/pool, all of it or nothing, and keep the decoded arrays in data/raw.

    Args:
        workspace: where to; the caller holds it.
        config: which data set, and what its labels are.
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
            path = array_path(workspace, split, digest, source.kind)
            (building / f"{split}{path.suffix}").replace(path)
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
    target = building / f"{split}{kept.SUFFIXES[source.kind]}"
    files.write_atomic(
        target, lambda temporary: seen.append(kept.write(temporary, source.kind, items, source.shape, order))
    )
    return seen[0]


def _write_files(folder: Path, config: Config, source: Source, decoded: dict[SplitName, Decoded]) -> str:
    pool, test, task = source.pool, source.test, source.task
    known = np.flatnonzero(task.known(pool.labels))
    ids = pa.array(pool.ids, pa.string())
    manifest = _listed(pool, decoded["pool"])
    held_out = _listed(test, decoded["test"]).append_column("label", pa.array(test.labels, task.label_type))
    tables = {
        "manifest.parquet": manifest,
        "test.parquet": held_out,
        "oracle.parquet": pa.table({"id": ids.take(known), "label": pa.array(pool.labels[known], task.label_type)}),
        "start/labeled.parquet": labeled(task).empty_table(),
        "start/unlabeled.parquet": pa.table({"id": ids}, UNLABELED),
        "start/scores.parquet": scores(task).empty_table(),
    }
    for name, table in tables.items():
        files.write_table(folder / name, table)
    info = {
        "dataset": config.dataset.name,
        **task.described(),
        # Pools of an earlier release do not speak of it.
        **({} if source.kind == "images" else {"kind": source.kind}),
        "shape": list(source.shape),
        "dtype": np.dtype(kept.DTYPES[source.kind]).name if source.kind in kept.DTYPES else "text",
        "mean": decoded["pool"].mean,
        "std": decoded["pool"].std,
        "items": len(pool.ids),
        "held_out": len(test.ids),
        "known_labels": len(known),
        "digest": _digest(source, (manifest, held_out)),
    }
    files.write_json(folder / "pool.json", info)
    return str(info["digest"])


def _listed(split: Split, decoded: Decoded) -> pa.Table:
    """Which items there are, and what people see of them if that is not in the items themselves."""
    columns = {"id": pa.array(split.ids, pa.string()), "uri": split.uris, "sha256": decoded.sha256}
    return pa.table(columns if split.fields is None else columns | {"fields": split.fields})


def _digest(source: Source, tables: tuple[pa.Table, ...]) -> str:
    # Over the content and not the Parquet files, whose bytes change with the version of the writer.
    described = source.task.described()
    running = hashlib.sha256(json.dumps([described.get("classes", described), source.shape]).encode())
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
