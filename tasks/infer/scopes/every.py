"""Each item in one of m rounds."""

from typing import Any

import numpy as np

from tasks.infer.scopes.scope import Known, Narrowed, Positions
from tasks.order import random_keys


def narrow(known: Known, among: Positions, settings: dict[str, Any], seed: np.random.SeedSequence) -> Narrowed:
    """Keep the items whose turn it is, and those never scored: 1/m of the pool in each round, drawn once for all.

    An item belongs to the round t with t mod m = key(id) mod m, so between two of its turns lie m rounds, and the
    work of all rounds is alike. Its value stays in the cache meanwhile; `select.max_age` says for how long it counts.

    Args:
        settings: rounds = m.
        seed: of the experiment, equal in all rounds.

    Source: "every m-th loop" of Alectio, Compute-Saving Active Learning (2022), lever 5; here spread over the rounds.
    """
    period = int(settings["rounds"])
    # Not the round's own seed: the parts must stay the same from round to round.
    turns = random_keys(known.ids.take(among), np.random.SeedSequence(seed.entropy)) % np.uint64(period)
    due = (turns == known.round % period) | (known.scored_round[among] < 0)
    return Narrowed({"every": among[due]}, "not due")
