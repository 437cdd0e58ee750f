"""Items of which nothing is to be expected are left alone."""

from typing import Any

import numpy as np

from tasks.infer.scopes.scope import DROPPED, Known, Narrowed, Positions
from tasks.infer.scopes.shares import rounded_down
from tasks.order import random_keys


def narrow(known: Known, among: Positions, settings: dict[str, Any], seed: np.random.SeedSequence) -> Narrowed:
    """Leave out the ``share`` of the items with the lowest cached values.

    Only items scored at least ``times`` times can be left out, and only in the ``rounds`` rounds after their last
    scoring; with ``rounds`` None an item once left out stays so. Nothing is deleted: it keeps its place in the pool and
    its last value, the cache says "suspended" or "dropped" of it, and with other settings it is scored like any other.

    Args:
        settings: share in (0, 1), times, and rounds (None: for good).

    Source: CEAL, arXiv 2401.07639: the optional removal of low-value samples in Algorithm 1, which its code lacks.
    """
    scored = np.flatnonzero(known.scored_round[among] >= 0)
    lowest = rounded_down(settings["share"], len(scored))
    keys = random_keys(known.ids.take(among[scored]), seed)
    bottom = scored[np.lexsort((keys, known.score[among[scored]]))[:lowest]]
    out = np.zeros(len(among), dtype=np.bool_)
    out[bottom] = known.times_scored[among[bottom]] >= settings["times"]
    if settings["rounds"] is None:
        out |= known.dropped[among]
    else:
        out &= known.round - known.scored_round[among] <= settings["rounds"]
    return Narrowed({"not pruned": among[~out]}, DROPPED if settings["rounds"] is None else "suspended")
