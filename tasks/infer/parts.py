"""Acquisition values of items in several parts, such as the boxes of a detector or the tokens of a sequence.

What a model says of the parts is scored as if each were an item; ``aggregate`` makes one value per item of it. The
parts of all items lie in one array, item after item, and ``counts``, int64 (n,), says how many belong to each.

Boxes are float, (B, 4): left, top, right, bottom, in any unit, left <= right and top <= bottom.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from tasks.errors import ConfigError, DataError

Scores = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Boxes = npt.NDArray[np.floating[Any]]
#: Log-probabilities or Samples.
Predictions = TypeVar("Predictions")


def _sums(scores: Scores, starts: Counts, counts: Counts) -> Scores:
    return np.asarray(np.add.reduceat(scores, starts), dtype=np.float64)


def _means(scores: Scores, starts: Counts, counts: Counts) -> Scores:
    return np.asarray(_sums(scores, starts, counts) / counts, dtype=np.float64)


def _maxima(scores: Scores, starts: Counts, counts: Counts) -> Scores:
    return np.asarray(np.maximum.reduceat(scores, starts), dtype=np.float64)


#: name → (scores of the parts, where each item's begin, how many they are, none 0) → scores of the items.
AGGREGATIONS: dict[str, Callable[[Scores, Counts, Counts], Scores]] = {"mean": _means, "max": _maxima, "sum": _sums}


def aggregate(scores: npt.NDArray[np.floating[Any]], counts: Counts, how: str, empty: float = 0.0) -> Scores:
    """One score per item, by the mean, maximum or sum of its parts' scores.

    An item's score does not depend on the other items. The maximum is exact; sum and mean depend on the order of the
    parts by rounding (pairwise summation in float64), so that a mean may exceed the largest part by as little. A part
    without a score, NaN, leaves its item without one.

    Args:
        scores: float (P,).
        counts: int64 (n,), the sum of which is P.
        how: a name of ``AGGREGATIONS``.
        empty: the score of an item without parts. 0 says that nothing in it is uncertain, as a sum over no parts does;
            infinity brings the items first in which a model finds nothing at all.

    Returns:
        float64 (n,).

    Raises:
        ConfigError: ``how`` is not a name of ``AGGREGATIONS``.
        DataError: the counts do not fit the scores.

    Source: Brust, Käding & Denzler, Active Learning for Deep Object Detection, VISAPP 2019 (sum, average and maximum
    of the detections' scores as that of what they are found in).
    """
    reduce = _aggregation(how)
    if np.any(counts < 0) or counts.sum() != len(scores):
        lowest, total = min(counts, default=0), counts.sum()
        raise DataError(
            f"The counts of parts have to be 0 or more and add up to the {len(scores)} parts that have scores; "
            f"the lowest is {lowest}, their sum {total}."
        )
    # reduceat gives an item without parts the score of the next item's first part, so only the others are reduced.
    some = counts > 0
    starts = (np.cumsum(counts) - counts)[some]
    items = np.full(len(counts), empty, dtype=np.float64)
    if len(starts):
        items[some] = reduce(np.asarray(scores, dtype=np.float64), starts, counts[some])
    return items


def of_parts(
    acquisition: Callable[[Predictions], Scores], how: str, empty: float = 0.0
) -> Callable[[Predictions, Counts], Scores]:
    """The acquisition function of items that aggregates ``acquisition``, one of ``uncertainty`` or ``disagreement``.

    Returns:
        (what ``acquisition`` takes, its rows being P parts; counts) → float64 (n,), as ``aggregate`` gives it.

    Raises:
        ConfigError: ``how`` is not a name of ``AGGREGATIONS``.
    """
    _aggregation(how)
    return lambda predictions, counts: aggregate(acquisition(predictions), counts, how, empty)


def _aggregation(how: str) -> Callable[[Scores, Counts, Counts], Scores]:
    if how not in AGGREGATIONS:
        raise ConfigError(f"No aggregation is called {how!r}; choose from {', '.join(AGGREGATIONS)}.")
    return AGGREGATIONS[how]


def overlaps(first: Boxes, second: Boxes) -> npt.NDArray[np.float64]:
    """Intersection over union of each box with each, float64 (A, B), in [0, 1].

    0 where the union is empty; NaN where a coordinate is.
    """
    one, two = (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) for boxes in (first, second))
    low = np.maximum(one[:, None, :2], two[None, :, :2])
    high = np.minimum(one[:, None, 2:], two[None, :, 2:])
    shared = np.maximum(high - low, 0.0).prod(axis=2)
    union = _areas(one)[:, None] + _areas(two)[None, :] - shared
    return np.asarray(np.divide(shared, union, where=union != 0, out=np.zeros_like(shared)), dtype=np.float64)


def _areas(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), dtype=np.float64)


def matches(reference: Boxes, found: Boxes, threshold: float = 0.5) -> npt.NDArray[np.int64]:
    """Which of ``found`` (F, 4) is which of ``reference`` (R, 4): int64 (R,), a row of ``found``, or -1 for none.

    No box is taken twice, and the total overlap of the pairs is the largest possible among pairs that overlap by
    ``threshold`` or more, in (0, 1]. Classes are not looked at: match each class by itself where they matter.

    Source: Kuhn, The Hungarian Method for the Assignment Problem, 1955, as ``linear_sum_assignment`` of SciPy.
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"Boxes are matched by an overlap in (0, 1], which {threshold} is not.")
    shared = overlaps(reference, found)
    # Before the assignment, so that a pair that does not count cannot stand in the way of one that does.
    allowed = np.where(shared >= threshold, shared, 0.0)
    rows, columns = linear_sum_assignment(allowed, maximize=True)
    taken = np.full(len(allowed), -1, dtype=np.int64)
    real = allowed[rows, columns] > 0
    taken[rows[real]] = columns[real]
    return taken


@dataclass(frozen=True)
class Localisation:
    """How firmly the boxes of one item are placed; row i of both fields speaks of its i-th reference box."""

    #: float64 (R,), in [0, ∞); NaN where no pass found the box.
    spread: npt.NDArray[np.float64]
    #: float64 (R,), the share of passes that found the box.
    found: npt.NDArray[np.float64]


def localisation_spread(reference: Boxes, passes: Sequence[Boxes], threshold: float = 0.5) -> Localisation:
    """How much the boxes of one item move over K passes with dropout left on, free of units.

    The spread is the population standard deviation of each coordinate over the passes that found the box, as a share
    of the reference box's width or height, mean over the four coordinates. It is exactly 0 where all passes equal the
    reference, and where one pass alone found the box: ``found`` has to be looked at, too. Higher means "label me" in
    ``spread``, and in 1 - ``found``.

    Args:
        reference: (R, 4), of positive width and height: the boxes of the pass without dropout, say.
        passes: K times (F_k, 4).
        threshold: the overlap from which on a box is the reference box, as ``matches`` takes it.

    Source: Gal & Ghahramani, Dropout as a Bayesian Approximation, ICML 2016 (the passes); Yang et al., Bounding Box
    Stability against Feature Dropout Reflects Detector Generalization across Environments, ICLR 2024 (bipartite
    matching of the boxes with and without dropout, there scored by mean overlap); Kao et al., Localization-Aware
    Active Learning for Object Detection, ACCV 2018 (the variation of boxes as an acquisition function, there under
    noise in the input).
    """
    corners = np.asarray(reference, dtype=np.float64).reshape(-1, 4)
    moves = np.full((len(passes), *corners.shape), np.nan)
    for move, boxes in zip(moves, passes, strict=True):
        taken = matches(corners, boxes, threshold)
        hit = taken >= 0
        # Relative to the reference, as the mean of equal coordinates may differ from them by rounding.
        move[hit] = np.asarray(boxes, dtype=np.float64)[taken[hit]] - corners[hit]
    hits = ~np.isnan(moves).any(axis=2)
    sides = np.tile(corners[:, 2:] - corners[:, :2], 2)
    spread = np.full(len(corners), np.nan)
    seen = hits.any(axis=0)
    spread[seen] = (np.nanstd(moves[:, seen], axis=0) / sides[seen]).mean(axis=1)
    return Localisation(spread=spread, found=hits.sum(axis=0) / max(len(passes), 1))
