"""Weighted sampling without replacement in one pass over the weights."""

import numpy as np
import numpy.typing as npt

from tasks.order import largest, largest_unsorted

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]

#: Weights that are perturbed at one time: what is computed on the way then stays in the processor's cache.
_SLICE = 1 << 14
#: The largest float below 1.
_BELOW_ONE = 1 - 2.0**-53


def top_k(log_weights: Floats, keys: Keys, size: int) -> npt.NDArray[np.int64]:
    """Draw ``size`` of N items one after another, each with probability proportional to exp(log weight) of those left.

    This is the Plackett-Luce distribution, drawn by the Gumbel-top-k trick: independent standard Gumbel noise is added
    to the log weights and the largest sums are taken. The trick for one item is J. I. Yellott's (J. Math. Psychology
    15, 1977), for several T. Vieira's (2014) and W. Kool, H. van Hoof and M. Welling's (ICML 2019, section 2.2).
    O(N); beyond its arguments it holds a few times ``size`` numbers.

    Args:
        log_weights: shape (N,). Any finite number; +inf goes first; -inf goes last, when nothing else is left. Among
            equal infinite ones the order is that of the keys.
        keys: shape (N,), independent uniform 64-bit numbers; all randomness comes from them.
        size: how many; all N if there are no more.

    Returns:
        int64 positions, in the order in which they are drawn.

    Raises:
        ValueError: a log weight is NaN.
    """
    count, size = len(log_weights), max(min(size, len(log_weights)), 0)
    # Twice the size between two cuts makes all cuts together O(N), however many values are equal.
    room = min(count, 2 * size + _SLICE)
    values, positions = np.empty(room), np.empty(room, dtype=np.int64)
    filled, threshold = 0, -np.inf
    for start in range(0, count, _SLICE):
        sums = _perturbed(log_weights[start : start + _SLICE], keys[start : start + _SLICE])
        kept = np.flatnonzero(sums >= threshold)
        if filled + len(kept) > room:
            best = largest_unsorted(values[:filled], keys[positions[:filled]], size)
            filled = len(best)
            values[:filled], positions[:filled] = values[best], positions[best]
            threshold = values[:filled].min(initial=np.inf)
        values[filled : filled + len(kept)] = sums[kept]
        positions[filled : filled + len(kept)] = kept + start
        filled += len(kept)
    return positions[largest(values[:filled], keys[positions[:filled]], size)]


def _perturbed(log_weights: Floats, keys: Keys) -> Floats:
    """The log weights plus standard Gumbel noise, -ln(-ln u), u being the upper 53 bits of the key."""
    if np.isnan(log_weights).any():
        raise ValueError("a log weight is NaN")
    # The middles of 2^53 equal parts of (0, 1), of which the last one would round to 1, whose noise is infinite.
    noise = (keys >> np.uint64(11)).astype(np.float64)
    noise += 0.5
    noise *= 2.0**-53
    np.minimum(noise, _BELOW_ONE, out=noise)
    for _ in range(2):
        np.log(noise, out=noise)
        np.negative(noise, out=noise)
    noise += log_weights
    return noise
