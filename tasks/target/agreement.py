"""How far two models agree on what to label next."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Of two models' scores of the same items; None where that is not defined."""

    #: Correlation of the scores' ranks, equal scores sharing the mean of theirs; and of the scores.
    spearman: float | None
    pearson: float | None
    #: Share of the items that one model would take which the other would take too; None where they would take all.
    overlap: float | None


#: Of models of which one says nothing.
UNKNOWN = Agreement(None, None, None)


def agreement(ours: Scores, theirs: Scores, top: int) -> Agreement:
    """Compare the scores of N items, aligned, in the order of the items' ids; higher means "label me".

    A correlation is not defined where one of the models scores all items alike, and nothing is where a score is not
    finite. Of equal scores the earlier item is taken.

    Source: Coleman et al., Selection via Proxy (ICLR 2020, arXiv 1906.11829), which ranks by proxy and target and
    reports the rank correlation; Spearman's is the product-moment correlation of the ranks.

    Args:
        top: items that each model would take; 0…N.
    """
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return UNKNOWN
    from scipy.stats import rankdata

    shared = len(np.intersect1d(_first(ours, top), _first(theirs, top)))
    return Agreement(
        spearman=_correlation(rankdata(ours), rankdata(theirs)),
        pearson=_correlation(ours, theirs),
        overlap=shared / top if 0 < top < len(ours) else None,
    )


def share_taken(items: int, bought: int, unlabeled: int) -> int:
    """As many of ``items`` as are to all ``unlabeled`` ones what the ``bought`` labels of a round are, at least one."""
    return min(max(1, round(items * bought / unlabeled)), items) if items else 0


def _correlation(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> float | None:
    """Pearson's; None where one side does not vary."""
    if not len(ours) or np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        return None
    ours, theirs = _centred(ours), _centred(theirs)
    product = float(ours @ theirs) / math.sqrt(float(ours @ ours) * float(theirs @ theirs))
    return round(min(max(product, -1.0), 1.0), 6)


def _centred(values: npt.NDArray[Any]) -> Scores:
    # Their scale has no say, and the squares of very small values would vanish.
    centred: Scores = values - values.mean()
    centred /= np.abs(centred).max()
    return centred


def _first(scores: Scores, count: int) -> npt.NDArray[np.int64]:
    order: npt.NDArray[np.int64] = np.argsort(-scores, kind="stable")
    return order[:count]
