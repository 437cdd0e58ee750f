"""Greedy k-centers: each pick is the point that lies farthest from everything picked before it.

Source: T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 38,
1985; as active learning: O. Sener and S. Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set
Approach", ICLR 2018, arXiv 1708.00489, algorithm 1.

The picks are those of the textbook algorithm on squared Euclidean distances in float64, each the sum of squared
differences in one fixed order (``squared_distances``). They are found with few of these distances:

- The distance to the nearest center only falls, so one that is out of date is still an upper bound. A point is
  compared with newer centers only once it could be picked by its bound.
- A matrix product in float32 gives a lower bound of many distances at a time, from which its largest possible
  rounding error is taken off. Only pairs whose lower bound is below what the point has already are computed in float64.
- The points with the largest bounds are brought up to date as one block; picks are made inside it as long as they
  beat every bound outside.

So neither sizes of blocks, nor threads, nor the library that multiplies, have a say in what is picked.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

#: Centers with which points are compared at one time.
_STEP = 256
#: Points compared at one time, and the most that a block of picks is made in.
_SLICE = {"cpu": 1 << 10, "cuda": 1 << 15}
_LARGEST_BLOCK = {"cpu": 512, "cuda": 2048}
_SMALLEST_BLOCK = 64
#: Points that are brought up to date together: at least so many, and this part of all.
_AHEAD, _AHEAD_SHARE = 1 << 12, 1 / 16
#: Pairs whose distances are computed in float64 at one time.
_PAIRS = {"cpu": 1 << 10, "cuda": 1 << 15}
#: Nearest distance of a point that was picked: below all others.
_PICKED = -1.0


def farthest_first(points: Tensor, centers: Tensor, size: int) -> npt.NDArray[np.int64]:
    """Pick ``size`` points, each the farthest from ``centers`` and the picks before it; ties go to the lowest row.

    Without centers the first pick is the point farthest from the mean of all points. No point is picked twice; those
    that equal a center or a pick come last, in the order of rows. Memory beyond the points is O(n + (m + size) d).

    Args:
        points: float32 or float16 of shape (n, d), finite; the work is done on its device.
        centers: shape (m, d), finite, of the same dtype and device; m may be 0.
        size: from 0 to n.

    Returns:
        int64 of shape (size,): rows of ``points``, in the order of the picks.

    Raises:
        ValueError: ``size`` is not from 0 to n, or points and centers do not go together.
    """
    if not 0 <= size <= len(points):
        raise ValueError(f"size is {size}, but there are {len(points)} points; ask for 0 to {len(points)}")
    if (points.dtype, points.device, points.shape[1]) != (centers.dtype, centers.device, centers.shape[1]):
        raise ValueError("points and centers differ in dtype, device or number of features; convert one of them")
    if size == 0:
        return np.empty(0, dtype=np.int64)
    with torch.inference_mode():
        return np.array(list(_picks(points, centers, size)), dtype=np.int64)


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """Squared Euclidean distances of pairs: of row i of ``left`` from row i of ``right``.

    Differences, squares and sums are float64; the later half of the squares is added to the earlier half until one is
    left. So the result does not depend on how many pairs there are, on the device, or on which side a row stands.

    Args:
        left: shape (k, d).
        right: shape (k, d), or (1, d).

    Returns:
        float64 of shape (k,); 0 for equal rows.
    """
    terms = (left.to(torch.float64) - right.to(torch.float64)).square_()
    width = terms.shape[1]
    while width > 1:
        half = (width + 1) // 2
        terms[:, : width - half] += terms[:, half:width]
        width = half
    return terms[:, 0]


def _picks(points: Tensor, centers: Tensor, size: int) -> Iterator[int]:
    """The rows that are picked, in order."""
    mean = _mean(points)
    cover = _Cover(points, centers, mean, size)
    missing = size
    if not len(centers):
        first = _farthest(points, mean)
        cover.take(torch.tensor([first], device=points.device))
        yield first
        missing -= 1
    cover.compare(torch.arange(len(points), device=points.device))
    ahead = max(_AHEAD, int(_AHEAD_SHARE * len(points)))
    block = _SMALLEST_BLOCK
    while missing:
        rows, bound = _front(cover.nearest, block)
        if cover.stale(rows).any():
            rows, _ = _front(cover.nearest, ahead)
            cover.compare(rows[cover.stale(rows)])
            continue
        nearest = cover.nearest[rows].cpu().numpy()
        order = _greedy(nearest, cover.between(rows), rows.cpu().numpy(), bound, missing)
        cover.nearest[rows] = torch.from_numpy(nearest).to(points.device)
        picked = rows[torch.from_numpy(order).to(points.device)]
        cover.take(picked)
        cover.seen[rows] = cover.count
        yield from picked.tolist()
        missing -= len(order)
        block = _next_block(block, len(order), _LARGEST_BLOCK[points.device.type])


class _Cover:
    """The centers so far, and what is known of each point's distance from the nearest of them."""

    def __init__(self, points: Tensor, centers: Tensor, mean: Tensor, size: int) -> None:
        count, width = len(centers) + size, points.shape[1]
        self.points = points
        #: float64 (n,): squared distance from the nearest of the first ``seen`` centers.
        self.nearest = torch.full((len(points),), torch.inf, dtype=torch.float64, device=points.device)
        self.seen = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        self.count = 0
        self._mean = mean.to(torch.float32)
        self._centers = points.new_empty((count, width))
        #: float32, a row per center: what gives lower bounds, see ``_lift``.
        self._lifted = self._mean.new_empty((count, width + 2))
        self._slack = _slack(width)
        self._kind = points.device.type
        self._append(centers)

    def take(self, rows: Tensor) -> None:
        """Make the points at ``rows`` centers, and never pick them again."""
        self.nearest[rows] = _PICKED
        self._append(self.points[rows])

    def stale(self, rows: Tensor) -> Tensor:
        """bool, of the shape of ``rows``: whether a center that a point was not compared with may be nearer."""
        return (self.seen[rows] < self.count) & (self.nearest[rows] > 0)

    def compare(self, rows: Tensor) -> None:
        """Bring the stale points at ``rows`` nearer to date: by the next step of centers that each has not seen."""
        seen, order = self.seen[rows].sort()
        rows, behind, at = rows[order], seen.cpu().numpy(), 0
        while at < len(rows):
            start = int(behind[at])
            stop = min(start + _STEP, self.count)
            end = min(at + _SLICE[self._kind], int(np.searchsorted(behind, stop)))
            self._lower(rows[at:end], start, stop)
            at = end

    def between(self, rows: Tensor) -> npt.NDArray[np.float64]:
        """Squared distances (k, k) between the points at ``rows``, infinite where they lower nothing.

        Entry i, j is infinite if it is above what point j has already.
        """
        part = self.points[rows]
        bounds = self._lift(part, as_center=True) @ self._lift(part).T
        close = (~(bounds > _reach(self.nearest[rows]))).nonzero()
        distances = self.nearest.new_full(bounds.shape, torch.inf)
        for pairs in torch.split(close, _PAIRS[self._kind]):
            i, j = pairs.T
            distances[i, j] = squared_distances(part[i], part[j])
        return distances.cpu().numpy()

    def _lower(self, rows: Tensor, start: int, stop: int) -> None:
        """Compare the points at ``rows`` with the centers from ``start`` up to ``stop``."""
        part, nearest = self.points[rows], self.nearest[rows]
        bounds = self._lift(part) @ self._lifted[start:stop].T
        # Nearly always the center with the least bound is the nearest: after it, few others are left in question.
        open_ = (~(bounds.amin(dim=1) > _reach(nearest))).nonzero().squeeze(1)
        part, bounds, found = part[open_], bounds[open_], nearest[open_]
        centers, best = self._centers[start:stop], bounds.argmin(dim=1)
        found = torch.minimum(found, squared_distances(part, centers[best]))
        bounds.scatter_(1, best.unsqueeze(1), torch.inf)
        left = (~(bounds > _reach(found).unsqueeze(1))).nonzero()
        for pairs in torch.split(left, _PAIRS[self._kind]):
            i, j = pairs.T
            found.scatter_reduce_(0, i, squared_distances(part[i], centers[j]), "amin")
        nearest[open_] = found
        self.nearest[rows] = nearest
        self.seen[rows] = stop

    def _append(self, centers: Tensor) -> None:
        new = slice(self.count, self.count + len(centers))
        self._centers[new] = centers
        self._lifted[new] = self._lift(centers, as_center=True)
        self.count = new.stop

    def _lift(self, part: Tensor, as_center: bool = False) -> Tensor:
        """float32 (k, d + 2): a point's row times a center's row is a lower bound of their squared distance.

        ‖x‖² + ‖c‖² - 2x·c, both sides centred; the slack shrinks the norms by at least what rounding adds.
        """
        width = part.shape[1]
        lifted = self._mean.new_empty((len(part), width + 2))
        centred = lifted[:, :width]
        torch.sub(part, self._mean, out=centred)
        norms = centred.square().sum(dim=1)
        # What overflows, here or in the product, bounds nothing: NaN is never above a limit.
        norms[~(norms < 1e37)] = torch.nan
        lifted[:, width + as_center] = norms * (1 - self._slack) - width * 2.0**-120
        lifted[:, width + 1 - as_center] = 1
        if as_center:
            centred *= -2
        return lifted


def _slack(width: int) -> float:
    """The part of ‖x‖² + ‖c‖² that bounds all rounding between the float32 expression and the true distance.

    With u = 2^-24: 2(d + 2)u for a sum of products in any order (N. J. Higham, Accuracy and Stability of Numerical
    Algorithms, 2002, section 3.1), of which 2|x·c| is at most the two squared norms; (d + 1)u for these; 4u for
    centring; 4u for what is stored rounded.
    """
    slack = (3 * width + 24) * 2.0**-24
    # Reduced precision rounds the factors to no fewer than 8 bits first.
    return slack if torch.get_float32_matmul_precision() == "highest" else slack + 2.0**-5


def _reach(nearest: Tensor) -> Tensor:
    """float32: a lower bound above it leaves ``nearest`` as it is; nothing is nearer than 0."""
    return nearest.to(torch.float32).masked_fill_(nearest <= 0, -torch.inf)


def _front(nearest: Tensor, count: int) -> tuple[Tensor, tuple[float, int]]:
    """The ``count`` points with the largest distances, ties by lowest row; rows ascending, and the first one outside.

    Returns:
        int64 (count,), and the distance and row of the first point that is not among them.
    """
    if count >= len(nearest):
        return torch.arange(len(nearest), device=nearest.device), (-torch.inf, len(nearest))
    threshold = torch.topk(nearest, count + 1, sorted=False).values.min()
    above, tied = (nearest > threshold).nonzero().squeeze(1), (nearest == threshold).nonzero().squeeze(1)
    room = count - len(above)
    return torch.cat([above, tied[:room]]).sort().values, (float(threshold), int(tied[room]))


def _greedy(
    nearest: npt.NDArray[np.float64],
    between: npt.NDArray[np.float64],
    rows: npt.NDArray[np.int64],
    bound: tuple[float, int],
    most: int,
) -> npt.NDArray[np.int64]:
    """Pick in a block as long as no point outside can come first; ``nearest`` is lowered in place.

    Args:
        nearest: (k,), up to date.
        between: (k, k), as of ``_Cover.between``.
        rows: (k,), ascending.
        bound: the largest distance that a point outside can have, and its row.
        most: picks that are wanted.

    Returns:
        Positions in the block, in the order of the picks.
    """
    order: list[int] = []
    while len(order) < most:
        best = int(nearest.argmax())
        if (-nearest[best], rows[best]) > (-bound[0], bound[1]):
            break
        order.append(best)
        np.minimum(nearest, between[best], out=nearest)
        nearest[best] = _PICKED
    return np.array(order, dtype=np.int64)


def _next_block(block: int, picked: int, largest: int) -> int:
    """A block that is picked from freely may be larger; one that is hardly used costs more than it brings."""
    if 4 * picked >= block:
        return min(2 * block, largest)
    return max(block // 2, _SMALLEST_BLOCK) if 16 * picked < block else block


def _mean(points: Tensor) -> Tensor:
    """float64 (d,), with no more than a slice of the points in float64."""
    total = points.new_zeros(points.shape[1], dtype=torch.float64)
    for part in torch.split(points, _SLICE[points.device.type]):
        total += part.sum(dim=0, dtype=torch.float64)
    return total / len(points)


def _farthest(points: Tensor, place: Tensor) -> int:
    """The row farthest from ``place`` (d,)."""
    parts = torch.split(points, _SLICE[points.device.type])
    return int(torch.cat([squared_distances(part, place.unsqueeze(0)) for part in parts]).argmax())
