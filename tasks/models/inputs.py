"""What models are fed: arrays, or objects like them whose items are not all of one size."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Ragged(Protocol):
    """Items that are no array; position i is item i."""

    def __len__(self) -> int:
        """How many items there are."""

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> "Ragged":
        """The items at these positions."""

    def tensor(self) -> Tensor:
        """All of them as one batch on the CPU; its first axis is the items."""


#: An array (n, …), in memory or mapped, or something like it.
Inputs = npt.NDArray[Any] | Ragged


def tensor(items: Inputs) -> Tensor:
    """Items, such as those that indexing gives, as a batch on the CPU."""
    return torch.from_numpy(items) if isinstance(items, np.ndarray) else items.tensor()


def resident(items: Inputs, device: torch.device) -> Callable[[Tensor], Tensor]:
    """From positions on the device, int64 (n,), to a batch there.

    Arrays lie on the device as they are: no loader, no workers, and of bytes a quarter of the memory of floats.
    """
    if not isinstance(items, np.ndarray):
        return lambda chosen: items[chosen.cpu().numpy()].tensor().to(device)
    held = torch.from_numpy(np.array(items)).to(device)
    # index_select copies whole rows: many times as fast as held[chosen] on a CPU.
    return lambda chosen: held.index_select(0, chosen)
