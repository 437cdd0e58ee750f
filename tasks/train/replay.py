"""Which of the labelled items an epoch meets, where it does not meet all of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True)
class Replay:
    """All new items, and some of the older ones, drawn anew for each epoch.

    Source: rehearsal, Robins, Catastrophic Forgetting, Rehearsal and Pseudorehearsal, Connection Science 7 (1995).
    """

    #: bool, (N,): which items are older ones.
    older: npt.NDArray[np.bool_]
    #: How many of these an epoch meets.
    replayed: int

    def __len__(self) -> int:
        """Items of an epoch."""
        return len(self.older) - int(self.older.sum()) + self.replayed

    def order(self) -> Tensor:
        """Positions of an epoch's items, int64 (len,), in random order by torch's global generator, on the CPU.

        With no item left out they are drawn as without replay.
        """
        order = torch.randperm(len(self.older))
        older = torch.from_numpy(np.flatnonzero(self.older))
        if self.replayed == len(older):
            return order
        met = torch.from_numpy(~self.older)
        met[older[torch.randperm(len(older))[: self.replayed]]] = True
        return order[met[order]]


def replay(older: npt.NDArray[np.bool_], share: float, fewest: int) -> Replay:
    """Replay a share of the older items, rounded; more where an epoch would otherwise have fewer than ``fewest`` items.

    Args:
        older: bool, (N,).
        share: in [0, 1].
        fewest: what an epoch needs; it gets less only if there are no more items.
    """
    old = int(older.sum())
    return Replay(older, min(max(round(share * old), fewest - (len(older) - old)), old))
