"""Core-set selection: items that cover the pool in the model's features, together with those that have labels."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from tasks.errors import FrugalError
from tasks.select.choice import Candidates, Chosen, Embedded
from tasks.select.farthest_first import farthest_first

#: Items that are checked at one time.
_SLICE = 1 << 14


def select(candidates: Candidates, seen: Embedded, size: int) -> Chosen:
    """The ``size`` items of greedy k-centers that starts from the labelled ones; scores and seed have no part in it.

    Ties go to the smallest id, so the order of rows does not matter. Source: see farthest_first.py.

    Raises:
        FrugalError: an item's features are not finite.
    """
    _refuse_broken(seen.unlabeled, lambda row: f"item {candidates.ids[row].as_py()!r}")
    _refuse_broken(seen.labeled, lambda row: f"labelled item number {row + 1} in the order of ids")
    order = _by_id(candidates.ids)
    points = torch.from_numpy(_arranged(seen.unlabeled, order)).to(seen.device)
    centers = torch.from_numpy(np.require(seen.labeled, requirements="W")).to(seen.device)
    positions = order[farthest_first(points, centers, size)]
    return Chosen(positions, ["k-centers"] * len(positions))


def _refuse_broken(features: npt.NDArray[np.float32], name: Callable[[int], str]) -> None:
    for start in range(0, len(features), _SLICE):
        broken = np.flatnonzero(~np.isfinite(features[start : start + _SLICE]).all(axis=1))
        if len(broken):
            item = name(start + int(broken[0]))
            raise FrugalError(f"{item}: its features are not finite; start a new loop with a lower train.lr")


def _by_id(ids: pa.Array) -> npt.NDArray[np.int64]:
    """Positions in the order of ids."""
    order: npt.NDArray[np.int64] = pc.sort_indices(ids).to_numpy().astype(np.int64)
    return order


def _arranged(features: npt.NDArray[np.float32], order: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The rows in that order, writable because PyTorch asks for it; no copy if they are both already."""
    if (order[1:] > order[:-1]).all():
        return np.require(features, requirements="W")
    return features[order]
