"""The learning curve: accuracy(n), or R²(n), = a - b·n^-c, fitted to the rounds so far.

Inverse power laws describe how accuracy rises with labels: Cortes et al., NIPS 1993; Figueroa et al., BMC Medical
Informatics and Decision Making 12:8 (2012), who also weight later points more; Hestness et al., arXiv 1712.00409. That
the mean squared error falls so to what cannot be learnt is the same as that R², 1 less its share of the labels'
variance, rises so; early values far below 0 are on the law too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.task_type.headline import ACCURACY, Headline

#: Different label counts beyond which neighbours are taken together, so that a fit takes no longer after many rounds.
_MOST = 40
#: Different label counts below which nothing is fitted: three parameters, and something left to tell the noise by.
FEWEST = 4

_Floats = NDArray[np.float64]

_SAMPLES = 200
#: Exponents that are tried first; the best one is then closed in on.
_EXPONENTS: _Floats = np.geomspace(0.02, 4, 48)
#: Around the best of a grid, in its steps.
_ZOOM: _Floats = np.linspace(-1, 1, 9)
_SEED = 20120215


class _Laws(NamedTuple):
    """Curves, one per entry."""

    a: _Floats
    b: _Floats
    c: _Floats


@dataclass(frozen=True, eq=False)
class Curve:
    """A fitted curve: ``a`` is where it levels off (at most 1), ``b`` ≥ 0 how far below it begins, ``c`` > 0 how steep.

    Intervals are of the curve itself, not of a single evaluation, which has its own noise besides.
    """

    a: float
    b: float
    c: float
    #: Standard deviation of an observation of weight 1.
    noise: float
    _labels: _Floats = field(repr=False)
    _weights: _Floats = field(repr=False)
    #: Below which nothing is measured.
    _lowest: float = field(default=0.0, repr=False)

    def at(self, labels: float) -> float:
        """The accuracy at so many labels; ``math.inf`` gives where the curve levels off."""
        return self.a - self.b * math.pow(labels, -self.c)

    def interval(self, labels: float, confidence: float) -> tuple[float, float]:
        """Where the curve runs at so many labels: the central share ``confidence`` of the bootstrap."""
        return _central(self._sampled(labels), self.at(labels), confidence)

    def gain(self, now: float, then: float, confidence: float) -> tuple[float, float, float]:
        """The rise of the curve between two label counts, now ≤ then: expected, lower and upper end."""
        expected = max(self.at(then) - self.at(now), 0.0)
        return expected, *_central(self._sampled(then) - self._sampled(now), expected, confidence)

    def labels_for(self, accuracy: float) -> float:
        """Labels at which the curve reaches ``accuracy``; infinity if it never does."""
        return float(_labels_for(self._law, accuracy)[0])

    def sampled_labels_for(self, accuracy: float) -> _Floats:
        """The same of each curve of the bootstrap."""
        return _labels_for(self._bootstrap, accuracy)

    def labels_interval(self, accuracy: float, confidence: float) -> tuple[float, float]:
        """The central share ``confidence`` of the labels at which the bootstrap's curves reach ``accuracy``."""
        # Of order statistics: nothing can be interpolated between a number and infinity.
        reached = np.sort(self.sampled_labels_for(accuracy))
        tail = math.floor((1 - confidence) / 2 * len(reached))
        expected = self.labels_for(accuracy)
        return min(float(reached[tail]), expected), max(float(reached[-1 - tail]), expected)

    @property
    def _law(self) -> _Laws:
        return _Laws(np.array([self.a]), np.array([self.b]), np.array([self.c]))

    def _sampled(self, labels: float) -> _Floats:
        a, b, c = self._bootstrap
        sampled: _Floats = a - b * float(labels) ** -c
        return sampled

    @cached_property
    def _bootstrap(self) -> _Laws:
        """Curves fitted to what might have been measured: the same curve with other noise, always the same.

        The noise's size is itself uncertain after few rounds, and is drawn from its own distribution, the scaled
        inverse χ² of the residuals: intervals are as wide as Student's t makes them, not as the normal distribution.
        """
        random = np.random.default_rng(_SEED)
        freedom = len(self._labels) - 3
        size = self.noise * np.sqrt(freedom / random.chisquare(freedom, (_SAMPLES, 1)))
        drawn = random.standard_normal((_SAMPLES, len(self._labels))) / np.sqrt(self._weights)
        fitted = self.a - self.b * self._labels**-self.c
        return _solve(self._labels, np.clip(fitted + size * drawn, self._lowest, 1), self._weights)


def fit(points: Sequence[tuple[int, float]], of: Headline = ACCURACY) -> Curve:
    """The curve nearest to (labels, accuracy) by weighted least squares; repeated label counts are averaged first.

    Of more than 40 different ones, neighbours within a fortieth of their whole range, on a logarithmic scale, are
    averaged too: in such a part a curve is all but straight.

    The variance of an accuracy p at n labels is taken as proportional to p·(1 - p)/n. That is binomial noise of a
    validation set that is a fixed share of the labels; how differently models of equal size turn out falls likewise.
    That of an R² is taken as proportional to (1 - R²)²/n, the noise of a mean of squared errors on such a set.

    Args:
        of: the metric that the points are of, called accuracy here.

    Raises:
        ValueError: there are fewer than FEWEST different label counts.
    """
    if missing(points):
        raise ValueError(too_short(points))
    columns = _thinned(*_averaged(points))
    return _fit(tuple(zip(*(column.tolist() for column in columns), strict=True)), of)


# Several policies ask for the same curve in one decision, and in a replay for those of all rounds, one policy after
# the other.
@lru_cache(maxsize=4096)
def _fit(points: tuple[tuple[float, ...], ...], of: Headline) -> Curve:
    labels, values, repeats = np.array(points).T.copy()
    # The variances depend on the curve, and it on them: once with equal accuracies, then with the fitted ones.
    weights = _weights(labels, of.noise(np.full_like(values, 0.5)), repeats)
    rough = _solve(labels, values[None], weights)
    weights = _weights(labels, of.noise(rough.a - rough.b * labels**-rough.c), repeats)
    law = _solve(labels, values[None], weights, zooms=12)
    residuals = values - (law.a - law.b * labels**-law.c)
    noise = math.sqrt(float(weights @ residuals**2) / (len(labels) - 3))
    return Curve(float(law.a[0]), float(law.b[0]), float(law.c[0]), noise, labels, weights, of.lowest)


def missing(points: Sequence[tuple[int, float]]) -> int:
    """Rounds, each with more labels than the one before, that are still needed for a fit."""
    return max(FEWEST - len({labels for labels, _ in points}), 0)


def too_short(points: Sequence[tuple[int, float]]) -> str:
    """Why no curve can be fitted to these points."""
    short = missing(points)
    return f"a learning curve needs {FEWEST} rounds with different label counts: {short} more to go"


def _averaged(points: Sequence[tuple[int, float]]) -> tuple[_Floats, _Floats, _Floats]:
    """Different label counts, ascending, their mean accuracies, and of how many each is the mean."""
    labels, place, repeats = np.unique([labels for labels, _ in points], return_inverse=True, return_counts=True)
    sums = np.bincount(place, weights=[value for _, value in points])
    return labels.astype(float), sums / repeats, repeats.astype(float)


def _thinned(labels: _Floats, values: _Floats, repeats: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """At most ``_MOST`` of them: geometric means of the labels, means of the accuracies, and how many each is of."""
    if len(labels) <= _MOST:
        return labels, values, repeats
    logs = np.log(labels)
    part = np.minimum((logs - logs[0]) / (logs[-1] - logs[0]) * _MOST, _MOST - 1).astype(int)
    _, part = np.unique(part, return_inverse=True)
    sums: _Floats = np.bincount(part, weights=repeats).astype(float)
    means = [np.bincount(part, weights=repeats * column) / sums for column in (logs, values)]
    return np.exp(means[0]), means[1], sums


def _weights(labels: _Floats, noise: _Floats, repeats: _Floats) -> _Floats:
    """Reciprocal variances up to a factor: their mean is 1."""
    weights = labels * repeats / noise
    scaled: _Floats = weights / weights.mean()
    return scaled


def _solve(labels: _Floats, values: _Floats, weights: _Floats, zooms: int = 4) -> _Laws:
    """The best curve for each row of ``values`` (rows by labels).

    Variable projection (Golub & Pereyra 1973): for a given exponent the other two parameters have a closed form, so
    only the exponent is searched for, in all rows at once: on a grid, then ``zooms`` times on a finer one around the
    best, four times finer each.
    """
    share = weights / weights.sum()
    unit = float(np.exp(np.log(labels) @ share))
    logs = np.log(labels / unit)
    rows, step = np.arange(len(values)), float(np.log(_EXPONENTS[1] / _EXPONENTS[0]))
    exponents = np.broadcast_to(_EXPONENTS, (len(values), len(_EXPONENTS)))
    # On the first grid the shapes are the same for every row.
    a, b, loss = _project(np.exp(-_EXPONENTS[:, None] * logs)[None], values, share)
    for _ in range(zooms):
        middle = exponents[rows, np.argmin(loss, axis=1)]
        exponents = middle[:, None] * np.exp(step * _ZOOM)
        a, b, loss = _project(np.exp(-exponents[:, :, None] * logs), values, share)
        step /= 4
    best = rows, np.argmin(loss, axis=1)
    return _Laws(a[best], b[best] * unit ** exponents[best], exponents[best])


def _project(shape: _Floats, values: _Floats, share: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """The best a ≤ 1 and b ≥ 0 of a - b·shape for each row of values and each exponent, and the weighted mean loss.

    ``shape`` is rows (or 1) by exponents by labels. The problem is convex with two bounds: where the free solution
    breaks one, the best of those on a bound is the answer.
    """
    mean_shape, mean = shape @ share, np.minimum(values @ share, 1)[:, None]
    rise, off = shape - mean_shape[..., None], values - mean
    spread = np.maximum(rise**2 @ share, np.finfo(float).tiny)
    slope = -(rise @ (off * share)[..., None])[..., 0] / spread
    variance = (off**2 @ share)[:, None]
    # Each of the three: a, b, loss. Free, levelling off at 1, flat.
    free = mean + slope * mean_shape, slope, variance - slope**2 * spread
    below = ((1 - values) * share)[..., None]
    full = (shape @ below)[..., 0] / (shape**2 @ share)
    loss_full = ((1 - values) ** 2 @ share)[:, None] - full * (shape @ below)[..., 0]
    level = loss_full < variance
    bound = np.where(level, 1.0, mean), np.where(level, full, 0.0), np.where(level, loss_full, variance)
    kept = (slope >= 0) & (free[0] <= 1)
    a, b, loss = (np.where(kept, ours, other) for ours, other in zip(free, bound, strict=True))
    return a, b, loss


def _labels_for(laws: _Laws, accuracy: float) -> _Floats:
    """Labels at which each curve reaches ``accuracy``: 0 if it is flat and above, infinity if it never does."""
    room = laws.a - accuracy
    with np.errstate(all="ignore"):
        reached = (laws.b / np.where(room > 0, room, 1)) ** (1 / laws.c)
    flat: _Floats = np.where((laws.b == 0) & (room >= 0), 0.0, np.inf)
    return np.where(room > 0, reached, flat)


def _central(sampled: _Floats, expected: float, confidence: float) -> tuple[float, float]:
    """The central share ``confidence`` of the samples, with the expected value inside."""
    low, high = np.quantile(sampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return min(float(low), expected), max(float(high), expected)
