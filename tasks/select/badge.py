"""BADGE: a batch that is uncertain and diverse, by the gradients that the most probable labels would give."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.datasets.store import by_id
from tasks.errors import FrugalError
from tasks.order import random_keys, smallest
from tasks.select.choice import Candidates, Chosen, Embedded
from tasks.select.kmeanspp import Floats, Positions, seeds

Singles = npt.NDArray[np.float32]

#: Items whose products are computed at one time: these then stay in the processor's cache.
_SLICE = 1024
#: A squared distance below this part of the squared norm is rounding of the products.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Gradients:
    """Gradients of the cross-entropy by the last layer's weights, as the two factors of their outer products.

    That of item i is g_i = a_i ⊗ h_i, (classes, d), with a_i = p_i - onehot(argmax p_i). As ⟨g_i, g_j⟩ =
    (a_i · a_j)(h_i · h_j), it is never made: ‖g_i - g_j‖² = ‖a_i‖²‖h_i‖² + ‖a_j‖²‖h_j‖² - 2 (a_i · a_j)(h_i · h_j).
    """

    #: float32 (n, classes): a.
    residuals: Singles
    #: float32 (n, d): h.
    features: Singles
    #: float64 (n,): ‖g‖².
    norms: Floats

    @classmethod
    def of(cls, probabilities: Singles, features: Singles) -> "Gradients":
        """From class probabilities (n, classes), of which the first of equal highest ones is taken, and features."""
        residuals = probabilities.astype(np.float32)
        highest = residuals.argmax(axis=1)[:, None]
        # p - 1 from the other classes: of a probability near 1, single precision would leave mostly rounding.
        np.put_along_axis(residuals, highest, np.float32(0), axis=1)
        np.put_along_axis(residuals, highest, -residuals.sum(axis=1, keepdims=True), axis=1)
        return cls(residuals, features, _squares(residuals) * _squares(features))

    def nearest(self, centres: Positions) -> Floats:
        """Squared distance of every item from the nearest centre, (n,); 0 where it is only rounding."""
        closest = np.empty(len(self.norms))
        a, h, norms = self.residuals[centres], self.features[centres], self.norms[centres, None].astype(np.float32)
        for start in range(0, len(closest), _SLICE):
            here = slice(start, start + _SLICE)
            closest[here] = self._less_own_norm(a, h, norms, here).min(axis=0)
        return _floored(closest, self.norms)

    def between(self, positions: Positions) -> Floats:
        """Squared distances of these items from one another, (m, m); 0 where it is only rounding."""
        a, h, norms = self.residuals[positions], self.features[positions], self.norms[positions]
        return _floored(self._less_own_norm(a, h, norms[:, None].astype(np.float32), positions), norms)

    def _less_own_norm(self, a: Singles, h: Singles, norms: Singles, items: slice | Positions) -> Singles:
        """(centres, items): squared distances without the squared norms of the items."""
        products = a @ self.residuals[items].T
        products *= h @ self.features[items].T
        products *= -2
        products += norms
        return products


def select(candidates: Candidates, seen: Embedded, size: int) -> Chosen:
    """``size`` items by k-means++ on the gradients; once every gradient is among those chosen, others at random.

    The first is the one of the largest gradient, of equal ones that of the lowest id, as in the published program
    (k-means++ would draw it uniformly); the others are drawn. Gradients are of the weights, without the bias. Items are
    gone through in the order of their ids. Products are float32, what is drawn by is float64; beyond its arguments it
    holds (n, classes) float32 and a few times n numbers, and a copy of the features where ids are not in order.

    Raises:
        FrugalError: the features or probabilities of an item, or their squares, are not finite.

    Source: J. T. Ash, C. Zhang, A. Krishnamurthy, J. Langford and A. Agarwal, Deep Batch Active Learning by Diverse,
    Uncertain Gradient Lower Bounds, ICLR 2020, Algorithm 1.
    """
    order = by_id(candidates.ids)
    ids, probabilities, features = candidates.ids, seen.probabilities, seen.unlabeled
    if (np.diff(order) < 0).any():
        ids, probabilities, features = ids.take(order), probabilities[order], features[order]
    gradients = Gradients.of(probabilities, features)
    _check(probabilities, gradients.norms, ids)
    drawn = seeds(gradients, size, np.random.default_rng(candidates.seed))
    others = _at_random(ids, candidates.seed, drawn, size - len(drawn))
    origins = ["badge"] * len(drawn) + ["random, gradient among the chosen"] * len(others)
    return Chosen(order[np.concatenate([drawn, others])], origins)


def _check(probabilities: Singles, norms: Floats, ids: pa.Array) -> None:
    # The highest probability is not in the norm. A squared distance is a sum of four at most.
    bad = np.flatnonzero(~(np.isfinite(probabilities.max(axis=1)) & (norms <= np.finfo(np.float32).max / 4)))
    if len(bad):
        raise FrugalError(
            f"the model's features or probabilities of item {ids[int(bad[0])].as_py()!r} are not finite, or too large "
            "to be squared; start a new loop with a lower train.lr"
        )


def _at_random(ids: pa.Array, seed: np.random.SeedSequence, taken: Positions, size: int) -> Positions:
    if not size:
        return np.empty(0, dtype=np.int64)
    left = np.delete(np.arange(len(ids), dtype=np.int64), taken)
    return left[smallest(random_keys(ids, seed)[left], size)]


def _squares(rows: Singles) -> Floats:
    """Squared norms of rows."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares: Floats = np.einsum("ij,ij->i", rows, rows).astype(np.float64)
    return squares


def _floored(less_norm: Singles | Floats, norms: Floats) -> Floats:
    """The squared distances from which ``norms`` were left out; 0 where they are only rounding."""
    distances: Floats = less_norm + norms
    distances[distances < _ROUNDING * norms] = 0
    return distances
