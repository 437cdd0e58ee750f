"""MaxHerding: items that together are near to all others."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]

#: Width of the kernel; features have unit length.
_SIGMA = 1.0
#: Similarities that are held at one time.
_HELD = 1 << 20
#: Items whose gains are computed together in the first look for the next item; doubled while it goes on.
_LOOKED_AT = 16


def herded(features: Singles, size: int) -> Positions:
    """``size`` items, each the one that raises the coverage of all items most; of equal ones the first.

    The coverage by a set S is Σ_x max_{s ∈ S} k(x, s), k(x, y) = exp(-‖x - y‖² / sigma²), sigma = 1. As it is
    submodular, gains only fall, and one that was computed for a smaller set bounds the present one: only items whose
    bound is not below the best gain are looked at again, which changes nothing in the outcome.

    Args:
        features: (n, d), of unit length.

    Returns:
        int64 positions, in the order of choice.

    Source: W. Bae, J. Noh and D. J. Sutherland, Generalized Coverage for More Robust Low-Budget Active Learning, ECCV
    2024, arXiv 2407.12212, section 3; the bounds are M. Minoux's (Accelerated Greedy Algorithms, 1978).
    """
    coverage = _Coverage(features)
    everything = np.arange(len(features), dtype=np.int64)
    bounds = coverage.gains(everything)
    chosen: list[int] = []
    for _ in range(min(size, len(features))):
        chosen.append(_best(coverage, bounds) if chosen else int(bounds.argmax()))
        coverage.add(chosen[-1])
        bounds[chosen[-1]] = -np.inf
    return np.array(chosen, dtype=np.int64)


class _Coverage:
    """How near each item is to the nearest of those chosen."""

    def __init__(self, features: Singles) -> None:
        self._features = features
        self._norms = np.einsum("ij,ij->i", features, features)
        self._covered = np.zeros(len(features), dtype=np.float32)

    def gains(self, items: Positions) -> Floats:
        """What each of the items would add to the coverage."""
        rows = max(1, _HELD // len(self._features))
        parts = [self._gains(items[start : start + rows]) for start in range(0, len(items), rows)]
        return np.concatenate(parts)

    def add(self, item: int) -> None:
        """Choose an item."""
        np.maximum(self._covered, self._similarities(np.array([item]))[0], out=self._covered)

    def _gains(self, items: Positions) -> Floats:
        similarities = self._similarities(items)
        similarities -= self._covered
        np.maximum(similarities, 0, out=similarities)
        gains: Floats = similarities.sum(axis=1).astype(np.float64)
        return gains

    def _similarities(self, items: Positions) -> Singles:
        """Of each of the items to all, (items, n)."""
        similar: Singles = self._features[items] @ self._features.T
        similar *= 2
        similar -= self._norms
        similar -= self._norms[items, None]
        # Above 0 is rounding, of an item and itself.
        np.minimum(similar, 0, out=similar)
        similar /= np.float32(_SIGMA**2)
        np.exp(similar, out=similar)
        return similar


def _best(coverage: _Coverage, bounds: Floats) -> int:
    """The item of the largest gain; the bounds of all items that were looked at become their gains."""
    seen = np.zeros(len(bounds), dtype=np.bool_)
    best, looked_at = -np.inf, _LOOKED_AT
    while True:
        open_ = np.flatnonzero(~seen & (bounds >= best) & (bounds > -np.inf))
        if not len(open_):
            return int(np.flatnonzero(seen & (bounds == best))[0])
        if looked_at < len(open_):
            open_ = open_[np.argpartition(-bounds[open_], looked_at)[:looked_at]]
        bounds[open_] = coverage.gains(open_)
        seen[open_] = True
        best, looked_at = max(best, bounds[open_].max()), 2 * looked_at
