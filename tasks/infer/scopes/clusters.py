"""A share of each cluster of the pool."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.infer.scopes.scope import Known, Narrowed, Positions
from tasks.infer.scopes.shares import rounded_up
from tasks.order import random_keys


def narrow(known: Known, among: Positions, settings: dict[str, Any], seed: np.random.SeedSequence) -> Narrowed:
    """Keep of each cluster ``ratio`` of its items, rounded up: some nearest to the centre, the others at random.

    Items that belong to no cluster form one of their own.

    Args:
        settings: ratio in (0, 1]; nearest in [0, 1], the share of the kept ones that lie nearest to the centre.
        seed: of this round and scope.

    Source: lever 5 of Alectio, Compute-Saving Active Learning (2022): inference on a share of each cluster.
    """
    cluster, distance = known.cluster[among], known.distance[among]
    keys = random_keys(known.ids.take(among), seed)
    _, inverse, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
    wanted = np.array([rounded_up(settings["ratio"], int(size)) for size in sizes], dtype=np.int64)
    near = np.array([math.floor(settings["nearest"] * count + 0.5) for count in wanted], dtype=np.int64)
    # Items without a distance are as far as can be.
    far = np.where(np.isnan(distance), np.inf, distance)
    nearest = _rank_within(inverse, far, keys) < near[inverse]
    # The nearest go to the end of the random order, so that nobody is kept twice.
    drawn = _rank_within(inverse, nearest.astype(np.float64), keys) < (wanted - near)[inverse]
    return Narrowed({"cluster nearest": among[nearest], "cluster random": among[drawn & ~nearest]}, "not a candidate")


def _rank_within(
    groups: npt.NDArray[np.int64], values: npt.NDArray[np.floating[Any]], keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """The rank of each element among those of its group, from 0, by value and then by key."""
    order = np.lexsort((keys, values, groups))
    starts = np.searchsorted(groups[order], groups[order], side="left")
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups)) - starts
    return ranks
