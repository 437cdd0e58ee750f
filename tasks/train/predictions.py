"""What the round's model says of items, kept so that later rounds can be compared with it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.order import random_keys, smallest
from tasks.seeds import seed_sequence
from tasks.task_type import Classification, TaskType

#: (n, …), as a task type has them.
Predictions = npt.NDArray[np.floating[Any]]


def schema(task: TaskType) -> pa.Schema:
    """The columns of predictions.parquet."""
    sure = {"confidence": pa.float32(), "entropy": pa.float32()}
    columns = {"id": pa.string(), "set": pa.string(), "label": task.label_type}
    return pa.schema(columns | (sure if isinstance(task, Classification) else {task.certainty: pa.float64()}))


class Prediction(NamedTuple):
    """Of one set of items."""

    set: str
    #: string, (n,).
    ids: pa.Array
    #: (n, …), finite.
    scores: Predictions


def stop_set(ids: pa.Array, size: int, seed: int) -> npt.NDArray[np.int64]:
    """Positions of the items whose predictions tell how stable the models are: int64, ascending.

    They depend on the ids and the experiment's seed alone, so they are the same in every round, labelled or not.

    Source: Bloodgood & Vijay-Shanker, A Method for Stopping Active Learning Based on Stabilizing Predictions and the
    Need for User-Adjustable Stopping, CoNLL 2009.

    Args:
        ids: string, (N,).
        size: how many; all if there are no more.
        seed: the experiment's.
    """
    return np.sort(smallest(random_keys(ids, seed_sequence(seed, 0, "stop")), size))


def table(predictions: Sequence[Prediction], task: TaskType) -> pa.Table:
    """One row per item, with the columns of ``schema``.

    Of classes, label is the most probable one (the first of equals), confidence its probability, entropy -Σ p log p in
    nats; of numbers, label is the mean and std the standard deviation.
    """
    rows = [_rows(prediction, task) for prediction in predictions]
    return pa.concat_tables([schema(task).empty_table(), *rows]).combine_chunks()


def _rows(prediction: Prediction, task: TaskType) -> pa.Table:
    logs = prediction.scores.astype(np.float64)
    label, certainty = task.proposed(logs)
    columns = {
        "id": prediction.ids,
        "set": pa.array([prediction.set] * len(logs)),
        "label": label,
        task.certainty: certainty,
    }
    if isinstance(task, Classification):
        columns |= {"confidence": certainty.astype(np.float32), "entropy": _entropy(logs)}
    return pa.table(columns).cast(schema(task))


def _entropy(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    entropy = -(np.exp(logs) * logs).sum(axis=1)
    # Rounding may leave a certain prediction a little below 0; and -0 + 0 is 0.
    found: npt.NDArray[np.float32] = np.maximum(entropy, 0.0).astype(np.float32) + np.float32(0)
    return found
