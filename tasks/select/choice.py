"""What a strategy gets and what it gives back."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True)
class Candidates:
    """The unlabelled items."""

    #: N strings.
    ids: pa.Array
    #: float64 (N,), higher means "label me"; NaN where an item was never scored.
    scores: npt.NDArray[np.float64]
    seed: np.random.SeedSequence
    #: Coldness of strategies that draw by score: 0 would be random, infinity top-k.
    beta: float = 1.0


@dataclass(frozen=True)
class Chosen:
    """Positions in the candidates, best first, and why each was chosen."""

    positions: npt.NDArray[np.int64]
    origins: list[str]
