"""Scores of items under a model or an ensemble, from one forward pass each or from several."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from tasks import progress, registry
from tasks.infer.sampling import sample_batches
from tasks.models.forward import log_probability_batches
from tasks.models.view import View

Floats = npt.NDArray[np.floating[Any]]
#: Position of the first item of a batch, scores (n,), and natural logarithms of the class probabilities (n, classes).
_Batch = tuple[int, npt.NDArray[np.float64], Floats]


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
    models: Sequence[nn.Module],
    view: View,
    items: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    acquisition: str,
    batch_size: int,
    passes: int = 1,
) -> Scored:
    """Score the items at ``rows``, in that order.

    Of several predictions of an item, the mean of their probabilities gives proposal and confidence, and stands for
    them in an acquisition function of one distribution.

    Args:
        models: one, or the members of an ensemble; on the view's device.
        items: uint8, (N, channels, height, width), in memory or memory-mapped.
        rows: positions in ``items``; may be empty.
        acquisition: a name in registry.ACQUISITIONS or registry.SAMPLED_ACQUISITIONS.
        batch_size: items per forward pass.
        passes: of each model; 2 or more leave its dropout on.

    Raises:
        ConfigError: fp16 on a CPU, or several passes of a model without dropout.
    """
    total = len(rows)
    scored = Scored(np.empty(total), np.empty(total, dtype=np.int64), np.empty(total))
    if len(models) == passes == 1:
        batches = _of_one(models[0], view, items, rows, acquisition, batch_size)
    else:
        batches = _of_several(models, view, items, rows, acquisition, batch_size, passes)
    with progress.task("INFER", total) as bar:
        for start, score, logarithms in batches:
            here = slice(start, start + len(score))
            scored.score[here] = score
            scored.proposal[here] = logarithms.argmax(axis=1)
            scored.confidence[here] = np.exp(logarithms.max(axis=1), dtype=np.float64)
            bar.advance(len(score))
    return scored


def _of_one(
    model: nn.Module,
    view: View,
    items: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    acquisition: str,
    batch_size: int,
) -> Iterator[_Batch]:
    function = registry.resolve(registry.ACQUISITIONS, acquisition)
    for start, batch in log_probability_batches(model, items, rows, view, batch_size):
        yield start, function(batch), batch


def _of_several(
    models: Sequence[nn.Module],
    view: View,
    items: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    acquisition: str,
    batch_size: int,
    passes: int,
) -> Iterator[_Batch]:
    compares = acquisition in registry.SAMPLED_ACQUISITIONS
    table = registry.SAMPLED_ACQUISITIONS if compares else registry.ACQUISITIONS
    function: Callable[[Any], npt.NDArray[np.float64]] = registry.resolve(table, acquisition)
    for start, samples in sample_batches(models, items, rows, view, passes, batch_size):
        # A mean probability of 0 is the logarithm -inf, which every function takes.
        with np.errstate(divide="ignore"):
            logarithms = np.log(samples.mean)
        yield start, function(samples if compares else logarithms), logarithms
