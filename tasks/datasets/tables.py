"""The columns of the tables that rounds hand on to each other."""

import pyarrow as pa

from tasks.task_type import TaskType

UNLABELED = pa.schema({"id": pa.string()})


def labels(task: TaskType) -> pa.Schema:
    """Of labels.parquet: what was answered, by whom and when, and what it cost."""
    return pa.schema(
        {
            "id": pa.string(),
            "label": task.label_type,
            "annotator": pa.string(),
            "labeled_at": pa.string(),
            "seconds": pa.float64(),
            "price": pa.float64(),
        }
    )


def answers(task: TaskType) -> pa.Schema:
    """Of answers.parquet: what each annotator answered; a null label is an item that was skipped."""
    return labels(task).append(pa.field("purpose", pa.string()))


def labeled(task: TaskType) -> pa.Schema:
    """Of labeled.parquet."""
    return pa.schema({"id": pa.string(), "label": task.label_type, "round": pa.int32()})


def scores(task: TaskType) -> pa.Schema:
    """Of scores.parquet, the acquisition cache."""
    return pa.schema(
        {
            "id": pa.string(),
            "score": pa.float64(),
            "scored_round": pa.int32(),
            # A few digests of 64 characters for all items: spelled out they would be the largest column by far.
            "model": pa.dictionary(pa.int32(), pa.string()),
            "times_scored": pa.int32(),
            "proposal": task.label_type,
            task.certainty: pa.float64(),
            # Why the item was scored in this round, or why it was left out and keeps an older value.
            "scope": pa.dictionary(pa.int32(), pa.string()),
            # Of the features of the first model that scored the pool; null unless a scope asks for them.
            "cluster": pa.int32(),
            "distance": pa.float32(),
        }
    )
