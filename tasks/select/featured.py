"""Strategies that go by the items' features: what they are given, and what they leave over."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import DataError
from tasks.feature_file import Features
from tasks.order import random_keys, smallest
from tasks.select.choice import Candidates, Chosen, Embedded

if TYPE_CHECKING:
    import torch

Strategy = Callable[[Candidates, Embedded, int], Chosen]


def by_features(
    strategy: Strategy, candidates: Candidates, found: Features, size: int, device: "torch.device"
) -> Chosen:
    """Let ``strategy`` choose among the candidates that have features; if they are too few, the rest is drawn.

    Args:
        found: of the items scored by the last round's model, and of those that had labels.
        device: on which the strategy may compute.

    Raises:
        DataError: an item has features twice, or none of the candidates has any.
    """
    if len(pc.unique(found.ids)) < len(found.ids):
        raise DataError("features.parquet: an item stands there more than once; restore it with `dvc checkout`")
    places = pc.index_in(candidates.ids, value_set=found.ids)
    featured = np.flatnonzero(np.asarray(places.is_valid()))
    if not len(featured):
        raise DataError(
            f"features.parquet: knows none of the {len(candidates.ids)} unlabelled items, so it belongs to another "
            "pool; restore it with `dvc checkout`"
        )
    rows = places.take(pa.array(featured)).to_numpy()
    part = replace(candidates, ids=candidates.ids.take(pa.array(featured)), scores=candidates.scores[featured])
    labeled = np.flatnonzero(found.labeled)
    labeled = labeled[pc.sort_indices(found.ids.take(pa.array(labeled))).to_numpy()]
    seen = Embedded(found.features[rows], found.probabilities[rows], found.features[labeled], device)
    chosen = strategy(part, seen, min(size, len(featured)))
    positions = featured[chosen.positions]
    others = np.setdiff1d(np.arange(len(candidates.ids)), featured, assume_unique=True)
    keys = random_keys(candidates.ids, candidates.seed)[others]
    drawn = others[smallest(keys, size - len(positions))]
    return Chosen(np.concatenate([positions, drawn]), chosen.origins + ["unscored"] * len(drawn))
