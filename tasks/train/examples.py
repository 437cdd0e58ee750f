"""Labelled items as arrays, and which of them are held back for validation."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.models.inputs import Inputs


@dataclass(frozen=True)
class Examples:
    """Labelled items; position i of both arrays speaks of the same item."""

    #: N of them as the model takes them; in memory or memory-mapped.
    items: Inputs
    #: (N,): int64, each in 0…classes-1, or float64.
    labels: npt.NDArray[Any]
    #: string, (N,), ascending; None where nobody asks who they are.
    ids: pa.Array | None = None

    def __len__(self) -> int:
        return len(self.labels)


def held_back(ids: Sequence[str], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which items are held back for validation: bool, (N,).

    An item's side depends on its id, the seed and the share alone, so it keeps its side as the pool grows; but with a
    share above 0 each side gets at least one of two items or more, and a single item is trained on.

    Args:
        ids: distinct strings.
        share: of the items, in [0, 1).
        seed: the experiment's, in [0, 2^63).
    """
    positions = np.array([_position(id_, seed) for id_ in ids], dtype=np.float64)
    held = positions < share
    if share > 0 and len(ids):
        held[positions.argmin()] = True
        held[positions.argmax()] = False
    return held


def _position(id_: str, seed: int) -> float:
    key = seed.to_bytes(8, "little")
    return int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=8, key=key).digest(), "big") / 2**64
