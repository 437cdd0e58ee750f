"""What the round's model says of items, kept so that later rounds can be compared with it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.order import random_keys, smallest
from tasks.seeds import seed_sequence
from tasks.train.evaluate import LogProbabilities

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "set": pa.string(),
        "label": pa.int64(),
        "confidence": pa.float32(),
        "entropy": pa.float32(),
    }
)


class Prediction(NamedTuple):
    """Of one set of items."""

    set: str
    #: string, (n,).
    ids: pa.Array
    #: (n, classes), finite.
    scores: LogProbabilities


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


def table(predictions: Sequence[Prediction]) -> pa.Table:
    """One row per item, with the columns of ``SCHEMA``.

    label is the most probable class (the first of equals), confidence its probability, entropy -Σ p log p in nats.
    """
    return pa.concat_tables([SCHEMA.empty_table(), *map(_rows, predictions)]).combine_chunks()


def _rows(prediction: Prediction) -> pa.Table:
    logs = prediction.scores.astype(np.float64)
    entropy = -(np.exp(logs) * logs).sum(axis=1)
    columns = {
        "id": prediction.ids,
        "set": pa.array([prediction.set] * len(logs)),
        "label": logs.argmax(axis=1),
        "confidence": np.exp(logs.max(axis=1)).astype(np.float32),
        # Rounding may leave a certain prediction a little below 0; and -0 + 0 is 0.
        "entropy": np.maximum(entropy, 0.0).astype(np.float32) + np.float32(0),
    }
    return pa.table(columns).cast(SCHEMA)
