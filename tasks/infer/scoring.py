"""Scores of items under a model, from one forward pass each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from tasks import progress
from tasks.models.forward import log_probability_batches
from tasks.models.view import View

Acquisition = Callable[[npt.NDArray[np.floating[Any]]], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Scored:
    """What a model says of items; position i of every field speaks of the same item."""

    #: float64; higher means "label me".
    score: npt.NDArray[np.float64]
    #: int64; the most probable class, the lower index among equals.
    proposal: npt.NDArray[np.int64]
    #: float64 in (0, 1]; the probability of the proposal.
    confidence: npt.NDArray[np.float64]


def score_items(
    model: nn.Module,
    view: View,
    items: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    acquisition: Acquisition,
    batch_size: int,
) -> Scored:
    """Score the items at ``rows``, in that order.

    Args:
        model: on the view's device.
        items: uint8, (N, channels, height, width), in memory or memory-mapped.
        rows: positions in ``items``; may be empty.
        acquisition: log-probabilities, float32 (n, classes) → float64 (n,); see ``tasks.infer.uncertainty``.
        batch_size: items per forward pass.

    Raises:
        ConfigError: fp16 on a CPU.
    """
    total = len(rows)
    scored = Scored(np.empty(total), np.empty(total, dtype=np.int64), np.empty(total))
    with progress.task("INFER", total) as bar:
        for start, batch in log_probability_batches(model, items, rows, view, batch_size):
            here = slice(start, start + len(batch))
            scored.score[here] = acquisition(batch)
            scored.proposal[here] = batch.argmax(axis=1)
            scored.confidence[here] = np.exp(batch.max(axis=1), dtype=np.float64)
            bar.advance(len(batch))
    return scored
