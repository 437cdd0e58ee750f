"""A scope's number of items, and the part of it that is drawn uniformly whatever the cache says."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np

from tasks.infer.scopes.scope import Known, Narrowed, Positions
from tasks.order import Keys, random_keys, rekey, smallest

#: Indices of the wanted number of items, best first, by a random key for each item.
Pick = Callable[[Keys, int], Positions]


def with_explorers(
    known: Known, among: Positions, settings: dict[str, Any], seed: np.random.SeedSequence, label: str, pick: Pick
) -> Narrowed:
    """What ``pick`` finds in ``among``, under ``label``, and the share ``settings["explore"]`` of uniform draws.

    Both together are ``settings["size"]`` items or ceil(``settings["ratio"]`` x n), and never more than the n of
    ``among``; round(share x size) of them are drawn from those that were not picked, under ``"explore"``. Which ids
    are kept does not depend on the order of the rows.
    """
    size = size_of(settings, len(among))
    explorers = round(settings["explore"] * size)
    # Unlike spawn(), this gives the same children each time.
    for_picking, for_exploring = (np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, i)) for i in (0, 1))
    keys = random_keys(known.ids, for_picking)[among]
    picked = pick(keys, size - explorers)
    rekey(keys, for_exploring)
    kept = {label: picked, "explore": _others(keys, picked, explorers)}
    return Narrowed({reason: np.sort(among[indices]) for reason, indices in kept.items()})


def size_of(settings: dict[str, Any], count: int) -> int:
    """settings["size"], or ceil(settings["ratio"] x ``count``); never more than there are."""
    size: int | None = settings["size"]
    if size is None:
        size = rounded_up(settings["ratio"], count)
    return min(size, count)


def rounded_up(share: float, count: int) -> int:
    """``share`` of ``count`` items, and no part of an item left over."""
    # In decimals, as the share was written: 0.07 x 100 is a little more than 7 in floating point.
    return math.ceil(Decimal(str(share)) * count)


def rounded_down(share: float, count: int) -> int:
    """``share`` of ``count`` items, and no part of an item added."""
    return math.floor(Decimal(str(share)) * count)


def _others(keys: Keys, picked: Positions, size: int) -> Positions:
    """``size`` uniform draws from what was not picked."""
    if not size:
        return np.empty(0, dtype=np.int64)
    # So many in random order hold enough others, however many of the picked are among them.
    drawn = smallest(keys, size + len(picked))
    return drawn[np.isin(drawn, picked, invert=True)][:size]
