"""A random order of ids that depends on the ids and the seed alone, never on the order of rows in a file."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.errors import DataError

Keys = npt.NDArray[np.uint64]

#: Ids that are hashed at one time: what is computed on the way then stays in the processor's cache.
_SLICE = 1 << 14
_WORD = 8
#: The odd number nearest to 2^64 divided by the golden ratio: it spreads small lengths over all bits.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def random_keys(ids: pa.Array, seed: np.random.SeedSequence) -> Keys:
    """A 64-bit key per id: sorting by it is a uniformly random permutation.

    An id's UTF-8 bytes are read as little-endian 64-bit words, the last one filled up with zeros. Starting from the
    length and one half of a 128-bit key, each word is added by exclusive or and followed by a finaliser; the other
    half of the key and one more finaliser end it. The finaliser is a bijection in which every bit of the input changes
    each bit of the output in half of the cases (``fmix64`` of MurmurHash3, A. Appleby, 2011, in the public domain). So
    ids of one length of up to 8 bytes never share a key, and others do with probability about 2^-64 a pair. The keys
    are noise, not a defence against ids that were made to collide.

    Args:
        ids: N strings (string or large_string), any slice of an array included.
        seed: 128 bits of it are the key.

    Returns:
        uint64 of shape (N,); key i depends on the bytes of id i and on ``seed`` only.

    Raises:
        DataError: an id is null.
        TypeError: ``ids`` is of another type.
    """
    if ids.null_count:
        raise DataError(f"{ids.null_count} of {len(ids)} ids are null; every item needs an id")
    first, second = seed.generate_state(2, np.uint64)
    offsets, text = _buffers(ids)
    keys = np.empty(len(ids), dtype=np.uint64)
    for start in range(0, len(ids), _SLICE):
        part = keys[start : start + _SLICE]
        _hash(offsets[start : start + len(part) + 1].astype(np.int64), text, first, part)
        part ^= second
        _finalise(part)
    return keys


def rekey(keys: Keys, seed: np.random.SeedSequence) -> None:
    """Turn keys into others, in place, that are as good as unrelated to them; quicker than to hash the ids anew.

    Args:
        keys: uint64 of shape (N,), from ``random_keys``; distinct ones stay distinct.
        seed: 64 bits of it are the key of one more exclusive or and finaliser.
    """
    (key,) = seed.generate_state(1, np.uint64)
    for start in range(0, len(keys), _SLICE):
        part = keys[start : start + _SLICE]
        part ^= key
        _finalise(part)


def smallest(keys: Keys, size: int) -> npt.NDArray[np.int64]:
    """Positions of the ``size`` smallest keys, ascending; all if there are no more. O(N) plus a sort of the chosen."""
    if size <= 0:
        return np.empty(0, dtype=np.int64)
    if size < len(keys):
        # Quicker than argpartition, whose positions are all written even if few are wanted.
        positions = np.flatnonzero(keys <= np.partition(keys, size - 1)[size - 1])
    else:
        positions = np.arange(len(keys))
    return positions[np.argsort(keys[positions], kind="stable")][:size].astype(np.int64)


def largest(values: npt.NDArray[np.float64], keys: Keys, size: int) -> npt.NDArray[np.int64]:
    """Positions of the ``size`` largest values, descending, equal ones by ascending key; all if there are no more.

    O(N) plus a sort of the chosen ones.

    Args:
        values: shape (N,), infinite ones included, without NaN.
        keys: shape (N,).
    """
    positions = largest_unsorted(values, keys, size)
    # The second column decides first; a stable sort in two steps is quicker than lexsort and needs no negated copy.
    positions = positions[np.argsort(keys[positions], kind="stable")]
    return positions[np.argsort(-values[positions], kind="stable")].astype(np.int64)


def largest_unsorted(values: npt.NDArray[np.float64], keys: Keys, size: int) -> npt.NDArray[np.int64]:
    """The positions that ``largest`` gives, in no order; O(N)."""
    if size >= len(values):
        return np.arange(len(values))
    if size <= 0:
        return np.empty(0, dtype=np.int64)
    threshold = np.partition(values, len(values) - size)[len(values) - size]
    above = np.flatnonzero(values > threshold)
    tied = np.flatnonzero(values == threshold)
    return np.concatenate([above, tied[smallest(keys[tied], size - len(above))]])


def _buffers(ids: pa.Array) -> tuple[npt.NDArray[np.signedinteger], npt.NDArray[np.uint8]]:
    """Offsets (N + 1,) into the bytes of all ids; views of Arrow's own memory."""
    if pa.types.is_string(ids.type):
        width: type[np.signedinteger] = np.int32
    elif pa.types.is_large_string(ids.type):
        width = np.int64
    else:
        raise TypeError(f"ids must be string or large_string, not {ids.type}")
    _, offsets, text = ids.buffers()
    if not len(ids):
        return np.zeros(1, dtype=width), np.empty(0, dtype=np.uint8)
    bounds = np.frombuffer(offsets, dtype=width)[ids.offset : ids.offset + len(ids) + 1]
    return bounds, np.frombuffer(text, dtype=np.uint8) if text else np.empty(0, dtype=np.uint8)


def _hash(offsets: npt.NDArray[np.int64], text: npt.NDArray[np.uint8], key: np.uint64, state: Keys) -> None:
    """Fill ``state`` (n,) with what the words of n consecutive ids come to."""
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    # Zeros behind the last id, so that its last word can be read whole.
    padded = np.zeros(offsets[-1] - offsets[0] + _WORD, dtype=np.uint8)
    padded[:-_WORD] = text[offsets[0] : offsets[-1]]
    # The word that begins at each byte.
    words = np.ndarray(len(padded) - _WORD + 1, dtype="<u8", buffer=padded, strides=(1,))
    np.multiply(lengths.astype(np.uint64), _GOLDEN, out=state)
    state ^= key
    shortest, longest = lengths.min(), lengths.max()
    for at in range(0, longest, _WORD):
        rows = slice(None) if at < shortest else np.flatnonzero(lengths > at)
        word = words[starts[rows] + at]
        if at + _WORD > shortest:
            _clear_next_id(word, lengths[rows] - at)
        word ^= state[rows]
        _finalise(word)
        state[rows] = word


def _clear_next_id(word: Keys, left: npt.NDArray[np.int64]) -> None:
    """Zero the bytes of each word behind the ``left`` (n,) bytes that the id still has, in place."""
    foreign = np.maximum(_WORD - left, 0).astype(np.uint64) * np.uint64(8)
    # Little-endian: the bytes behind are the high ones.
    word <<= foreign
    word >>= foreign


def _finalise(state: Keys) -> None:
    """MurmurHash3's 64-bit finaliser, in place."""
    shifted = state >> np.uint64(33)
    state ^= shifted
    state *= np.uint64(0xFF51AFD7ED558CCD)
    np.right_shift(state, np.uint64(33), out=shifted)
    state ^= shifted
    state *= np.uint64(0xC4CEB9FE1A85EC53)
    np.right_shift(state, np.uint64(33), out=shifted)
    state ^= shifted
