"""Held-out sets for data that come without one."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def stratified(
    ids: Sequence[str], labels: npt.NDArray[np.int64], held_out: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions of the pool and of the held-out set, each ascending; classes keep their shares.

    An item's fate hangs on the SHA-256 of its id, so that it is the same on every machine and library version.

    Args:
        ids: one an item.
        labels: int64 (n,), the class of each item.
        held_out: size of the held-out set.
    """
    ranks = _ranks(ids)
    counts = np.bincount(labels)
    takes = _largest_remainders(counts, held_out)
    chosen = [
        members[np.argsort(ranks[members])[:take]]
        for members, take in ((np.flatnonzero(labels == label), take) for label, take in enumerate(takes))
    ]
    test = np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))
    return np.setdiff1d(np.arange(len(ids), dtype=np.int64), test), test


def plain(ids: Sequence[str], held_out: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Like ``stratified``, where there are no classes: the items whose ids have the smallest SHA-256 are held out."""
    order = np.argsort(_ranks(ids), kind="stable").astype(np.int64)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _ranks(ids: Sequence[str]) -> npt.NDArray[np.str_]:
    return np.array([hashlib.sha256(id_.encode()).hexdigest() for id_ in ids], np.str_)


def _largest_remainders(counts: npt.NDArray[np.int64], total: int) -> npt.NDArray[np.int64]:
    # Whole numbers throughout, so that no rounding of floats can move an item.
    shares, remainders = np.divmod(counts.astype(np.int64) * total, counts.sum())
    for label in np.argsort(-remainders, kind="stable")[: total - shares.sum()]:
        shares[label] += 1
    result: npt.NDArray[np.int64] = shares
    return result
