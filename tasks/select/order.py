"""A random order of ids that depends on the ids and the seed alone, never on the order of rows in a file."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

#: Ids that are Python strings at one time; all of a large pool at once would take many times the room of the keys.
_SLICE = 100_000


def random_keys(ids: pa.Array, seed: np.random.SeedSequence) -> npt.NDArray[np.uint64]:
    """A 64-bit key per id from SipHash keyed by ``seed``: sorting by it is a uniformly random permutation.

    Args:
        ids: N strings.

    Returns:
        uint64 of shape (N,).
    """
    key = "".join(f"{word:08x}" for word in seed.generate_state(2))
    keys = np.empty(len(ids), dtype=np.uint64)
    for start in range(0, len(ids), _SLICE):
        strings = np.asarray(ids.slice(start, _SLICE).to_numpy(zero_copy_only=False), dtype=object)
        keys[start : start + _SLICE] = pd.util.hash_array(strings, hash_key=key, categorize=False)
    return keys


def smallest(keys: npt.NDArray[np.uint64], size: int) -> npt.NDArray[np.int64]:
    """Positions of the ``size`` smallest keys, ascending; O(N) plus a sort of the chosen ones."""
    positions = np.argpartition(keys, size)[:size] if size < len(keys) else np.arange(len(keys))
    return positions[np.argsort(keys[positions], kind="stable")].astype(np.int64)
