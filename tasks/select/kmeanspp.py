"""The seeding of k-means++: items far from one another, drawn in proportion to the squared distance from those drawn.

Source: D. Arthur and S. Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007, section 2.2.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

#: Items proposed between two passes over all items.
_PROPOSED = 64


class Points(Protocol):
    """Items that have distances."""

    @property
    def norms(self) -> Floats:
        """Squared norms, (n,)."""

    def nearest(self, centres: Positions) -> Floats:
        """Squared distance of every item from the nearest centre, (n,); 0 where it is only rounding."""

    def between(self, positions: Positions) -> Floats:
        """Squared distances of these items from one another, (m, m); 0 where it is only rounding."""


def seeds(points: Points, size: int, generator: np.random.Generator) -> Positions:
    """Draw distinct items: first that of the largest norm, then by squared distance from the nearest one drawn before.

    A pass over all items for every draw would read them as often. Distances only shrink, so items proposed by those of
    the last pass, and kept with the probability of what is left of theirs, have exactly the distribution of the
    sequential procedure, and one pass, a matrix product, does for all that were kept. Where none but the first of the
    proposals is kept, it is the sequential procedure.

    Returns:
        int64 positions as drawn; fewer than ``size`` where every other item is at distance 0 from one of them.
    """
    drawn = [int(points.norms.argmax())] if size > 0 and points.norms.max(initial=0) > 0 else []
    distances, fresh = np.full(len(points.norms), np.inf), np.array(drawn, dtype=np.int64)
    while 0 < len(drawn) < size:
        np.minimum(distances, points.nearest(fresh), out=distances)
        distances[fresh] = 0
        if not distances.any():
            break
        fresh = _draws(points, distances, size - len(drawn), generator)
        drawn.extend(fresh.tolist())
    return np.array(drawn, dtype=np.int64)


def _draws(points: Points, distances: Floats, most: int, generator: np.random.Generator) -> Positions:
    """At least one and at most ``most`` further items, by distances that hold for the first of them."""
    proposed = _by_weight(distances, generator.random(_PROPOSED))
    stale, between = distances[proposed], points.between(proposed)
    between[proposed[:, None] == proposed] = 0
    bars, current = generator.random(_PROPOSED) * stale, stale.copy()
    kept: list[int] = []
    for at in range(_PROPOSED):
        if bars[at] < current[at]:
            kept.append(at)
            if len(kept) == most:
                break
            np.minimum(current, between[at], out=current)
    return proposed[kept]


def _by_weight(weights: Floats, uniform: Floats) -> Positions:
    """Positions, with replacement, by inversion of the cumulative weights, of which one at least is not 0."""
    cumulative = np.cumsum(weights)
    # A product may round up to the sum of all.
    last = np.searchsorted(cumulative, cumulative[-1])
    positions: Positions = np.searchsorted(cumulative, uniform * cumulative[-1], side="right").astype(np.int64)
    positions[positions > last] = last
    return positions
