"""The highest cached values."""

from functools import partial
from typing import Any

import numpy as np

from tasks.infer.scopes.scope import Known, Narrowed, Positions
from tasks.infer.scopes.shares import with_explorers
from tasks.order import largest


def narrow(known: Known, among: Positions, settings: dict[str, Any], seed: np.random.SeedSequence) -> Narrowed:
    """Keep the ``size`` (or ``ratio`` x n) highest cached values of ``among``, ties at random.

    Items never scored come before all others. Kept under ``"top"``, and the uniformly drawn share ``explore`` of the
    size under ``"explore"``.

    Args:
        settings: size, ratio (one of them None), explore.
    """
    values = known.score[among]
    values[np.isnan(values)] = np.inf
    return with_explorers(known, among, settings, seed, "top", partial(largest, values))
