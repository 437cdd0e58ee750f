"""Random selection: every unlabelled item is as likely as any other."""

import numpy as np
import numpy.typing as npt

from tasks.order import random_keys, smallest
from tasks.select.choice import Candidates, Chosen


def select(candidates: Candidates, size: int) -> Chosen:
    """``size`` items, uniformly, without replacement."""
    positions = draw(candidates, size)
    return Chosen(positions, ["random"] * len(positions))


def draw(candidates: Candidates, size: int) -> npt.NDArray[np.int64]:
    """Positions of ``size`` candidates, uniformly, without replacement; all of them if there are no more."""
    return smallest(random_keys(candidates.ids, candidates.seed), size)
