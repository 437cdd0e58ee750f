"""What the next queries have to stay within, and which sizes between the bounds are tried."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.policy.situation import Situation

Sizes = npt.NDArray[np.int64]

#: Of so many sizes each is tried; of more, such that none is more than STEP times as large as the one before.
EVERY, STEP = 1000, 1.01


@dataclass(frozen=True)
class Bounds:
    """In labels, but for ``rounds``."""

    #: So far, and how many may still be bought.
    labels: int
    room: int
    #: That loop.rounds leaves.
    rounds: int
    #: Of a query; between 1 and ``room``.
    smallest: int
    largest: int


def bounds(situation: Situation) -> Bounds:
    """What policy.cost_optimal, the pool and the labels still allowed leave after at least one round.

    ``largest`` is the labels so far if it is not set: a query larger than that would be chosen by a model that has
    seen less than half of the labels, and be planned by a curve that is extrapolated over more than a doubling.
    """
    config, last = situation.config, situation.attempt[-1]
    settings = config.policy.cost_optimal
    allowed = [config.loop.max_labels, config.policy.stop.bound("labels")]
    # Labels out of the drawer are free, so an attempt may begin with none left to buy.
    room = max(min([situation.unlabeled, *(int(most) - last.bought for most in allowed if most is not None)]), 1)
    smallest = min(settings.smallest or 1, room)
    largest = min(settings.largest or max(last.labels, smallest), room)
    return Bounds(last.labels, room, max(config.loop.rounds - len(situation.attempt), 1), smallest, largest)


def grid(smallest: int, largest: int) -> Sizes:
    """Sizes between the two, both included, ascending: every one of up to ``EVERY``, else in steps of ``STEP``."""
    if largest - smallest < EVERY:
        return np.arange(smallest, largest + 1)
    count = math.ceil(math.log(largest / smallest) / math.log(STEP)) + 1
    between = np.floor(np.geomspace(smallest, largest, count))
    sizes: Sizes = np.unique(np.clip([smallest, *between, largest], smallest, largest)).astype(np.int64)
    return sizes
