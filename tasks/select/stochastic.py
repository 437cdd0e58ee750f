"""Stochastic batch selection: items drawn by their acquisition scores, so that a batch is not all alike.

The k highest scores are what one model wants most before any of the k labels is known; noise on the scores stands for
how they would change. Source: A. Kirsch, S. Farquhar, P. Atighehchian, A. Jesson, F. Branchaud-Charron and Y. Gal,
"Stochastic Batch Acquisition: A Simple Baseline for Deep Active Learning", TMLR 2023, arXiv 2106.12059, section 3.

Each function draws ``size`` items one after another without replacement, with a probability in proportion to its
weight among those that are left; beta is ``candidates.beta``. Items that were never scored only fill up.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tasks.gumbel import top_k
from tasks.order import Keys
from tasks.select.choice import Candidates, Chosen
from tasks.select.top_k import scored_first

Floats = npt.NDArray[np.float64]

#: What no log weight exceeds: far beyond it the noise is of no account, and the order is that of the scores.
_LARGEST = 1e300


def power(candidates: Candidates, size: int) -> Chosen:
    """Weights s^beta; a score of 0 or below has none and is chosen when nothing else is left."""
    return _drawn(candidates, size, "power", _logarithms)


def softmax(candidates: Candidates, size: int) -> Chosen:
    """Weights exp(beta s)."""
    return _drawn(candidates, size, "softmax", lambda scores: scores)


def softrank(candidates: Candidates, size: int) -> Chosen:
    """Weights r^-beta, r = 1 for the highest score; equal scores share the mean of their ranks."""
    return _drawn(candidates, size, "softrank", _negative_log_ranks)


def _drawn(candidates: Candidates, size: int, origin: str, exponents: Callable[[Floats], Floats]) -> Chosen:
    def pick(scores: Floats, keys: Keys, size: int) -> npt.NDArray[np.int64]:
        return top_k(_sharpened(exponents(scores), candidates.beta), keys, size)

    return scored_first(candidates, size, origin, pick)


def _sharpened(values: Floats, beta: float) -> Floats:
    largest = float(np.max(np.abs(values), initial=1.0, where=np.isfinite(values)))
    return values * min(beta, _LARGEST / largest)


def _logarithms(scores: Floats) -> Floats:
    return np.log(scores, out=np.full(len(scores), -np.inf), where=scores > 0)


def _negative_log_ranks(scores: Floats) -> Floats:
    _, place, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = -np.log(last - (counts - 1) / 2)[place]
    return ranks
