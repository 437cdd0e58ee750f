"""Top-k selection: the items with the highest acquisition scores."""

import numpy as np
import numpy.typing as npt

from tasks.select.choice import Candidates, Chosen
from tasks.select.order import random_keys, smallest


def select(candidates: Candidates, size: int) -> Chosen:
    """The ``size`` highest scores, ties in seeded order; if fewer are scored, the rest is drawn at random.

    This is the one place that says which end of the scale is labelled: the high one.
    """
    scored = np.flatnonzero(~np.isnan(candidates.scores))
    best = scored[highest(candidates, scored, min(size, len(scored)))]
    missing = size - len(best)
    if not missing:
        return Chosen(best, ["top-k"] * len(best))
    rest = np.setdiff1d(np.arange(len(candidates.ids)), best, assume_unique=True)
    drawn = rest[smallest(random_keys(candidates.ids.take(rest), candidates.seed), missing)]
    return Chosen(np.concatenate([best, drawn]), ["top-k"] * len(best) + ["unscored"] * len(drawn))


def highest(candidates: Candidates, among: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Indices into ``among`` of its ``size`` highest scores, descending; O(N) plus a sort of the chosen ones."""
    scores = candidates.scores[among]
    if size == 0:
        return np.empty(0, dtype=np.int64)
    threshold = np.partition(scores, len(scores) - size)[len(scores) - size]
    above = np.flatnonzero(scores > threshold)
    tied = np.flatnonzero(scores == threshold)
    tie_keys = random_keys(candidates.ids.take(among[tied]), candidates.seed)
    picked = np.concatenate([above, tied[smallest(tie_keys, size - len(above))]])
    keys = random_keys(candidates.ids.take(among[picked]), candidates.seed)
    return picked[np.lexsort((keys, -scores[picked]))]
