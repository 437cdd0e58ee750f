"""A uniformly drawn part of the pool."""

from typing import Any

import numpy as np

from tasks.infer.scopes.scope import Known, Narrowed, Positions
from tasks.infer.scopes.shares import size_of
from tasks.order import random_keys, smallest


def narrow(known: Known, among: Positions, settings: dict[str, Any], seed: np.random.SeedSequence) -> Narrowed:
    """Keep a number of items, uniformly, without replacement, drawn anew in each round.

    Args:
        settings: size = how many, or ratio = which share of ``among``; the other is None.
        seed: of this round's INFER.

    Source: Yoo & Kweon, Learning Loss for Active Learning, CVPR 2019, section 4.1, where 10,000 items of the pool are
    drawn before the highest scores among them are taken, after Beluch et al., CVPR 2018.
    """
    keys = random_keys(known.ids.take(among), seed)
    drawn = smallest(keys, size_of(settings, len(among)))
    return Narrowed({"subset": np.sort(among[drawn])}, "not drawn")
