"""Scales on which cached values of different acquisition functions, models and rounds can be weighed alike.

Each takes float64 of shape (N,), finite, and returns a new array of the same shape. Equal values stay equal, and the
order of rows does not matter.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_Bits = npt.NDArray[np.uint64]

#: Values that are converted at one time: what is computed on the way then stays in the processor's cache.
_SLICE = 1 << 14
#: All bits but the sign.
_MAGNITUDE = np.int64(2**63 - 1)


def raw(values: Floats) -> Floats:
    """The values as they are."""
    return np.array(values)


def standard(values: Floats) -> Floats:
    """(v - mean) / standard deviation; 0 where all values are the same."""
    if not len(values) or values.min() == values.max():
        return np.zeros(len(values))
    # By the largest magnitude first, so that no square overflows.
    scaled: Floats = values / max(values.max(), -values.min())
    scaled -= scaled.mean()
    scaled /= scaled.std()
    return scaled


def rank(values: Floats) -> Floats:
    """(ascending rank - 0.5) / N in (0, 1), equal values sharing the mean of their ranks.

    Values and positions are packed into one array of 64-bit integers and sorted together, which is quicker than
    ``argsort`` and takes less room; O(N log N). b = ceil(log2 N) bits go to the position; the others hold the value's
    floating-point bits, counted from the smallest value. Where these do not fit, the lowest bits are left out, and
    values that differ in no other bit share a rank: for values in [0, 1] this never happens at a relative difference
    above 2^(b-54), which is 2^-30 at ten million items.
    """
    count = len(values)
    if not count:
        return np.empty(0)
    position_bits = np.uint64((count - 1).bit_length())
    packed = _ordered_bits(values)
    low = packed.min()
    spare = int(packed.max() - low).bit_length() - (64 - int(position_bits))
    dropped = np.uint64(max(spare, 0))
    for start in range(0, count, _SLICE):
        part = packed[start : start + _SLICE]
        part -= low
        part >>= dropped
        part <<= position_bits
        part |= np.arange(start, start + len(part), dtype=np.uint64)
    packed.sort()
    return _shared_ranks(packed, position_bits)


def _ordered_bits(values: Floats) -> _Bits:
    """Integers in the order of the floats, by the usual flip of the negative ones; -0 counts as 0."""
    bits = np.empty(len(values), dtype=np.uint64)
    for start in range(0, len(values), _SLICE):
        signed = (values[start : start + _SLICE] + 0.0).view(np.int64)
        signed ^= (signed >> np.int64(63)) & _MAGNITUDE
        bits[start : start + _SLICE] = signed.view(np.uint64) ^ np.uint64(2**63)
    return bits


def _shared_ranks(packed: _Bits, position_bits: np.uint64) -> Floats:
    """Each position's mean rank among equals, from sorted integers with the position in the low bits."""
    count, start = len(packed), 0
    ranks = np.empty(count)
    mask = (np.uint64(1) << position_bits) - np.uint64(1)
    while start < count:
        last = min(start + _SLICE, count) - 1
        # To the end of the run of equal values: none is cut in two.
        part = packed[start : np.searchsorted(packed, packed[last] | mask, side="right")]
        values = part >> position_bits
        begins = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
        ends = np.append(begins[1:], len(part))
        ranks[(part & mask).view(np.int64)] = np.repeat((begins + ends + 2 * start) / (2 * count), ends - begins)
        start += len(part)
    return ranks
