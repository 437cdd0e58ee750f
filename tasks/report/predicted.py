"""What the model of a round said of the held-out items, beside what they are."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks import files
from tasks.errors import DataError
from tasks.report.loop import Loop


def held_out(loop: Loop, number: int) -> tuple[pa.Table, pa.ChunkedArray] | None:
    """The predictions of round ``number`` on the held-out set, and its labels in the same order.

    None where TRAIN did not keep them.

    Raises:
        DataError: a file is missing or damaged, or the predictions are not of the held-out items.
    """
    path = loop.workspace.round_dir(number) / "predictions.parquet"
    if not path.exists():
        return None
    predicted = files.read_table(path, ["id", "set", "label", loop.task.certainty])
    predicted = predicted.filter(pc.equal(predicted["set"], "held_out"))
    truth = files.read_table(loop.workspace.pool / "test.parquet", ["id", "label"])
    rows = pc.index_in(predicted["id"], value_set=truth["id"].combine_chunks())
    if rows.null_count or len(predicted) != len(truth):
        raise DataError(f"{path}: not of the held-out items in data/pool/test.parquet; restore it with `dvc checkout`")
    return predicted, truth["label"].take(rows)


def repeats(metrics: Mapping[str, Any], name: str) -> int:
    """Of how many trainings the metrics are means; ``name`` is one of theirs."""
    spread = metrics.get("repeats")
    return len(spread[name]["values"]) if spread else 1
