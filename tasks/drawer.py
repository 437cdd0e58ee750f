"""Labels bought before the loop began anew: they are kept, and nobody pays for them again.

SELECT asks nobody about them, and LABEL takes them from here.
"""

import pyarrow as pa

from tasks import files
from tasks.datasets import tables
from tasks.datasets.store import load_task
from tasks.rounds import Workspace, begins_attempt


def drawer(workspace: Workspace, round_: int) -> pa.Table:
    """The rows of labels.parquet of all rounds before the attempt of ``round_``; an item's first answer counts."""
    start = next(number for number in range(round_, -1, -1) if begins_attempt(workspace, number))
    if not start:
        return tables.labels(load_task(workspace)).empty_table()
    together = pa.concat_tables(
        [files.read_table(workspace.round_dir(number) / "labels.parquet") for number in range(start)]
    )
    seen: dict[str, int] = {}
    for row, id_ in enumerate(together["id"].to_pylist()):
        seen.setdefault(id_, row)
    return together.take(pa.array(list(seen.values()), pa.int64())).combine_chunks()


def unpaid(workspace: Workspace, round_: int) -> list[str]:
    """The ids of the round's selected items whose labels have to be bought, by rank."""
    selected = files.read_table(workspace.round_dir(round_) / "selected.parquet", ["id"])["id"].to_pylist()
    known = set(drawer(workspace, round_)["id"].to_pylist())
    return [id_ for id_ in selected if id_ not in known]
