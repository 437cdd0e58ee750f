"""What a strategy gets and what it gives back."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    import torch


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
class Embedded:
    """What the last round's model made of items; row i of the first two speaks of the same candidate."""

    #: float32 (n, d), finite: penultimate features of all n candidates that a strategy is given with them.
    unlabeled: npt.NDArray[np.float32]
    #: float32 (n, classes): class probabilities.
    probabilities: npt.NDArray[np.float32]
    #: float32 (m, d): features of the labelled items, in the order of their ids; m may be 0.
    labeled: npt.NDArray[np.float32]
    #: On which a strategy may compute.
    device: "torch.device"


@dataclass(frozen=True)
class Chosen:
    """Positions in the candidates, best first, and why each was chosen."""

    positions: npt.NDArray[np.int64]
    origins: list[str]
