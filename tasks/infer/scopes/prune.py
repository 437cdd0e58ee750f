"""Items of which nothing is to be expected are left alone."""

import math
from typing import Any

import numpy as np

from tasks.infer.scopes.scope import Known, Narrowed, Positions
from tasks.order import random_keys


def narrow(known: Known, among: Positions, settings: dict[str, Any], seed: np.random.SeedSequence) -> Narrowed:
    """Leave out the ``share`` of the items with the lowest cached values, until ``rounds`` rounds after their scoring.

    Only items scored at least ``times`` times can be left out. Nothing is deleted: an item keeps its place in the pool
    and its last value, the cache says "suspended" of it (or "dropped" if it is never to be scored again), and
    with another setting, or once its time is over, it is scored like any other.

    Args:
        settings: share in (0, 1), times, and rounds (None: for good).

    Source: CEAL, arXiv 2401.07639: the optional removal of low-value samples in Algorithm 1, which its code lacks.
    """
    scored = np.flatnonzero(known.scored_round[among] >= 0)
    lowest = math.floor(settings["share"] * len(scored))
    keys = random_keys(known.ids.take(among[scored]), seed)
    bottom = scored[np.lexsort((keys, known.score[among[scored]]))[:lowest]]
    at_rest = known.times_scored[among[bottom]] >= settings["times"]
    if settings["rounds"] is not None:
        at_rest &= known.round - known.scored_round[among[bottom]] <= settings["rounds"]
    kept = np.delete(among, bottom[at_rest])
    return Narrowed({"full": kept}, "dropped" if settings["rounds"] is None else "suspended")
