"""Values of the last scoring pass go before older ones."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tasks.select.choice import Candidates, Chosen

Strategy = Callable[[Candidates, int], Chosen]


def freshest_first(
    strategy: Strategy, candidates: Candidates, age: npt.NDArray[np.int64], max_age: int | None, size: int
) -> Chosen:
    """Let ``strategy`` choose among the values that are fresh; older ones fill up what is missing.

    Acquisition values fall from round to round as the model learns, so a value computed rounds ago would beat most of
    those that were computed now, and say less.

    Args:
        age: int64 (N,), rounds since each value was computed; of no account for items without one.
        max_age: the greatest age that counts as fresh; None for any.

    Source: CEAL, arXiv 2401.07639, Algorithm 1, which chooses among the candidates scored in the same iteration.
    """
    scored = ~np.isnan(candidates.scores)
    fresh = np.flatnonzero(scored & (age <= max_age)) if max_age is not None else np.arange(len(age))
    if len(fresh) == len(age) or not scored.any():
        return strategy(candidates, size)
    first = _among(strategy, candidates, fresh, min(size, len(fresh)))
    if len(fresh) >= size:
        return first
    older = np.setdiff1d(np.arange(len(age)), fresh, assume_unique=True)
    rest = _among(strategy, candidates, older, size - len(fresh))
    return Chosen(
        np.concatenate([first.positions, rest.positions]),
        first.origins + [name if name == "unscored" else f"{name} of older values" for name in rest.origins],
    )


def _among(strategy: Strategy, candidates: Candidates, positions: npt.NDArray[np.int64], size: int) -> Chosen:
    part = replace(candidates, ids=candidates.ids.take(positions), scores=candidates.scores[positions])
    chosen = strategy(part, size)
    return Chosen(positions[chosen.positions], chosen.origins)
