"""The columns of the tables that rounds hand on to each other."""

import pyarrow as pa

LABELED = pa.schema({"id": pa.string(), "label": pa.int64(), "round": pa.int32()})
UNLABELED = pa.schema({"id": pa.string()})
SCORES = pa.schema(
    {
        "id": pa.string(),
        "score": pa.float64(),
        "scored_round": pa.int32(),
        # A few digests of 64 characters for all items: spelled out they would be the largest column by far.
        "model": pa.dictionary(pa.int32(), pa.string()),
        "times_scored": pa.int32(),
        "proposal": pa.int64(),
        "confidence": pa.float64(),
        # Why the item was scored in this round, or why it was left out and keeps an older value.
        "scope": pa.dictionary(pa.int32(), pa.string()),
        # Of the features of the first model that scored the pool; null unless a scope asks for them.
        "cluster": pa.int32(),
        "distance": pa.float32(),
    }
)
