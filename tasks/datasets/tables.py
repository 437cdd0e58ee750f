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
    }
)
