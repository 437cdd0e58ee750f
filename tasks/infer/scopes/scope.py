"""What a scope of INFER is given and what it gives back."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Positions = npt.NDArray[np.int64]


#: What the cache says of an item that is never to be scored again.
DROPPED = "dropped"


@dataclass(frozen=True)
class Known:
    """The n unlabelled items and what the acquisition cache holds of them; position i of all fields is one item."""

    #: string, (n,).
    ids: pa.Array
    #: float64, (n,); higher means "label me"; NaN where an item was never scored, finite elsewhere.
    score: npt.NDArray[np.float64]
    #: int32, (n,); the round whose model gave the value; -1 where there is none.
    scored_round: npt.NDArray[np.int32]
    #: int32, (n,).
    times_scored: npt.NDArray[np.int32]
    #: int32, (n,); -1 where items were never clustered.
    cluster: npt.NDArray[np.int32]
    #: float32, (n,); Euclidean, from the centre of the cluster; NaN where there is none.
    distance: npt.NDArray[np.float32]
    #: bool, (n,); left out for good by ``prune`` in a round before.
    dropped: npt.NDArray[np.bool_]
    #: The round that is about to score.
    round: int


@dataclass(frozen=True)
class Narrowed:
    """What a scope leaves of the items that it was given."""

    #: By the reason for which they are to be scored; positions ascending, no item twice.
    kept: dict[str, Positions]
    #: What is to be said of the others.
    left_out: str = "not a candidate"
