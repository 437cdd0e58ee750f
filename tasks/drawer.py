"""Labels bought before the loop began anew: they are kept, and nobody pays for them again.

SELECT asks nobody about them, and LABEL takes them from here. Of what people skipped then, nobody is asked either.
"""

from pathlib import Path

import pyarrow as pa

from tasks import files
from tasks.datasets import tables
from tasks.datasets.store import load_task
from tasks.rounds import Workspace, begins_attempt, load_config


def drawer(workspace: Workspace, round_: int) -> pa.Table:
    """The rows of labels.parquet of all rounds before the attempt of ``round_``; an item's first answer counts."""
    start = _start(workspace, round_)
    if not start:
        return tables.labels(load_task(workspace)).empty_table()
    together = pa.concat_tables(
        [files.read_table(workspace.round_dir(number) / "labels.parquet") for number in range(start)]
    )
    seen: dict[str, int] = {}
    for row, id_ in enumerate(together["id"].to_pylist()):
        seen.setdefault(id_, row)
    return together.take(pa.array(list(seen.values()), pa.int64())).combine_chunks()


def skipped(workspace: Workspace, round_: int) -> set[str]:
    """The items that people skipped before the attempt of ``round_``: they are in neither pool of an attempt's end."""
    ends = [number - 1 for number in range(1, _start(workspace, round_) + 1) if begins_attempt(workspace, number)]
    if not ends or not load_config(workspace).label.by_people:
        return set()
    pool = _ids(workspace.pool / "start" / "unlabeled.parquet")
    folders = [workspace.round_dir(end) for end in ends]
    return {
        id_
        for folder in folders
        for id_ in pool - _ids(folder / "labeled.parquet") - _ids(folder / "unlabeled.parquet")
    }


def unpaid(workspace: Workspace, round_: int) -> list[str]:
    """The ids of the round's selected items whose labels have to be bought, by rank."""
    selected = files.read_table(workspace.round_dir(round_) / "selected.parquet", ["id"])["id"].to_pylist()
    known = {*drawer(workspace, round_)["id"].to_pylist(), *skipped(workspace, round_)}
    return [id_ for id_ in selected if id_ not in known]


def _start(workspace: Workspace, round_: int) -> int:
    """The first round of the attempt of ``round_``."""
    return next(number for number in range(round_, -1, -1) if begins_attempt(workspace, number))


def _ids(path: Path) -> set[str]:
    return set(files.read_table(path, ["id"])["id"].to_pylist())
