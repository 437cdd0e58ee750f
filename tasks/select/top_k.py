"""Top-k selection: the items with the highest acquisition scores."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tasks.order import Keys, largest, random_keys, smallest
from tasks.select.choice import Candidates, Chosen

#: Positions of the wanted number of items, best first, from the scores and a random key of each item.
Pick = Callable[[npt.NDArray[np.float64], Keys, int], npt.NDArray[np.int64]]


def select(candidates: Candidates, size: int) -> Chosen:
    """The ``size`` highest scores, ties in seeded order; if fewer are scored, the rest is drawn at random.

    This is the one place that says which end of the scale is labelled: the high one.
    """
    return scored_first(candidates, size, "top-k", largest)


def scored_first(candidates: Candidates, size: int, origin: str, pick: Pick) -> Chosen:
    """What ``pick`` takes of the scored items, and at random from the others if there are fewer than ``size``."""
    keys = random_keys(candidates.ids, candidates.seed)
    missing = np.isnan(candidates.scores)
    scored, unscored = np.flatnonzero(~missing), np.flatnonzero(missing)
    best = scored[pick(candidates.scores[scored], keys[scored], size)]
    drawn = unscored[smallest(keys[unscored], size - len(best))]
    return Chosen(np.concatenate([best, drawn]), [origin] * len(best) + ["unscored"] * len(drawn))
