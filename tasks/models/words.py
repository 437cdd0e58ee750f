"""The words of texts as fastText hashes them, for a whole block of texts at once."""

import numpy as np
import numpy.typing as npt

_SPACE = np.zeros(256, dtype=np.bool_)
_SPACE[list(b"\0\t\n\v\f\r ")] = True

_BASIS, _PRIME = 2166136261, 16777619
#: Below so many words, or beyond so many bytes, a word alone is faster than one more step for all.
_FEW, _LONG = 64, 65535


def word_hashes(
    offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """The hashes of all words of some texts, each text followed by the word `</s>`.

    Words are what stands between spaces, tabs, line ends, vertical tabs, form feeds and NULs, as bytes of UTF-8.

    Args:
        offsets: int64, (n+1,), ascending; text i is data[offsets[i]:offsets[i+1]].
        data: uint8.

    Returns:
        The hashes, uint32, text after text, and where each text's begin: int64, (n+1,).

    Source: `Dictionary::readWord` and `Dictionary::hash` of fastText 0.9.3. There a line end is a `</s>` of its own;
    here a text is one line whatever it holds, as for callers of fastText, who replace line ends by spaces.
    """
    starts, ends = _spans(offsets, data)
    first = np.searchsorted(starts, offsets)
    bounds = first + np.arange(len(offsets))
    hashes = np.full(len(starts) + len(offsets) - 1, END, dtype=np.uint32)
    # Before each word stands a `</s>` for every text before its own.
    places = np.arange(len(starts)) + np.repeat(np.arange(len(offsets) - 1), np.diff(first))
    _fnv(data, starts, ends - starts, hashes, places)
    return hashes, bounds


def word_hash(word: bytes, state: int = _BASIS) -> int:
    """FNV-1a of 32 bits whose bytes are signed, as in fastText; from ``state``, the hash of what stands before.

    Source: `Dictionary::hash` of fastText 0.9.3, after Fowler, Noll & Vo.
    """
    for byte in word:
        # A byte above 127 is negative there, and its sign fills the upper 24 bits.
        state = (state ^ (byte | 0xFFFFFF00 if byte > 127 else byte)) * _PRIME & 0xFFFFFFFF
    return state


#: Of the word that ends a text.
END = word_hash(b"</s>")


def _spans(
    offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where the words begin and where they end; a text's end ends a word."""
    inside = ~_SPACE[data]
    first, last = inside.copy(), inside.copy()
    first[1:] &= ~inside[:-1]
    last[:-1] &= ~inside[1:]
    full = offsets[:-1] < offsets[1:]
    for edges, at in ((first, offsets[:-1][full]), (last, offsets[1:][full] - 1)):
        edges[at] = inside[at]
    return np.flatnonzero(first), np.flatnonzero(last) + 1


def _fnv(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    into: npt.NDArray[np.uint32],
    places: npt.NDArray[np.int64],
) -> None:
    """Put the words' hashes at their places, computed a byte of all words at a time."""
    # The longest first, so that those that go on are always the first ones; sorted by radix, since 16 bits are enough.
    clipped = np.minimum(lengths, _LONG)
    order = np.argsort(clipped.astype(np.uint16), kind="stable")[::-1]
    longer = len(order) - np.cumsum(np.bincount(clipped))
    steps = int(np.count_nonzero(longer >= _FEW))
    signed, begin = data.view(np.int8), starts[order]
    hashes = np.full(len(order), _BASIS, dtype=np.uint32)
    for step in range(steps):
        going = hashes[: longer[step]]
        going ^= signed[begin[: len(going)] + step].astype(np.int32).view(np.uint32)
        going *= np.uint32(_PRIME)
    for word in range(int(np.count_nonzero(lengths > steps))):
        rest = data[begin[word] + steps : begin[word] + lengths[order[word]]]
        hashes[word] = word_hash(rest.tobytes(), int(hashes[word]))
    into[places[order]] = hashes
