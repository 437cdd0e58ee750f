"""The first labels, bought before any model can score."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.errors import ConfigError
from tasks.order import random_keys
from tasks.rounds import Workspace
from tasks.select.choice import Candidates, Chosen
from tasks.select.uniform import draw


def uniform(workspace: Workspace, candidates: Candidates, size: int) -> Chosen:
    """``size`` items, uniformly, without replacement."""
    positions = draw(candidates, size)
    return Chosen(positions, ["initial"] * len(positions))


def class_balanced(workspace: Workspace, candidates: Candidates, size: int) -> Chosen:
    """The same number of items of each class, as far as the pool has them, in seeded order.

    It reads the true classes of the whole pool before they are paid for, so it is for simulation only.

    Raises:
        ConfigError: some classes are not known.
    """
    labels = _true_labels(workspace, candidates.ids)
    keys = random_keys(candidates.ids, candidates.seed)
    # Rank each item inside its class; taking items by (rank, key) deals the classes out in turn.
    by_class = np.lexsort((keys, labels))
    first_of_class = np.searchsorted(labels[by_class], labels[by_class], side="left")
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - first_of_class
    return Chosen(np.lexsort((keys, rank))[:size], ["initial class-balanced (simulation only)"] * size)


def _true_labels(workspace: Workspace, ids: pa.Array) -> npt.NDArray[np.int64]:
    oracle = files.read_table(workspace.pool / "oracle.parquet")
    rows = pc.index_in(ids, value_set=oracle["id"].combine_chunks())
    if rows.null_count:
        raise ConfigError(
            "select.initial: class_balanced needs the true class of every item, and the pool does not know "
            f"{rows.null_count} of them; use `select.initial=random`"
        )
    labels: npt.NDArray[np.int64] = oracle["label"].to_numpy()[rows.to_numpy()]
    return labels
