"""Scores of items under a model or an ensemble, from one forward pass each or from several."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tasks import progress, registry
from tasks.infer.sampling import sample_batches
from tasks.models import forward
from tasks.models.features import feature_batches
from tasks.models.inputs import Inputs
from tasks.models.taps import penultimate
from tasks.models.view import View

Floats = npt.NDArray[np.floating[Any]]
#: Position of the first item of a batch, scores (n,), and the predictions of the task type, (n, …).
_Batch = tuple[int, npt.NDArray[np.float64], Floats]


@dataclass(frozen=True)
class Seen:
    """What the first model made of n items before its last layer, and all models after it."""

    #: float32 (n, d).
    features: npt.NDArray[np.float32]
    #: float32 (n, classes); of a regression ones, (n, 1).
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scored:
    """What a model says of items; position i of every field speaks of the same item."""

    #: float64; higher means "label me".
    score: npt.NDArray[np.float64]
    #: int64, the most probable class, the lower index among equals; or float64, the mean.
    proposal: npt.NDArray[Any]
    #: float64; the probability of the proposal, or the standard deviation of the number.
    certainty: npt.NDArray[np.float64]
    #: What the scores came from, if it was asked for.
    seen: Seen | None = None


def score_items(
    models: Sequence[nn.Module],
    view: View,
    items: Inputs,
    rows: npt.NDArray[np.int64],
    acquisition: str,
    batch_size: int,
    passes: int = 1,
    features: bool = False,
) -> Scored:
    """Score the items at ``rows``, in that order.

    Of several predictions of an item, their mixture gives proposal and certainty, and stands for them in an acquisition
    function of one distribution.

    Args:
        models: one, or the members of an ensemble; on the view's device.
        items: as the models take them, N of them, in memory or memory-mapped.
        rows: positions in ``items``; may be empty.
        acquisition: a name in registry.ALL_ACQUISITIONS; those of a model take one model and one pass.
        batch_size: items per forward pass.
        passes: of each model; 2 or more leave its dropout on.
        features: whether to keep what the scores came from: of a single pass its own features, of several those of
            one more pass of the first model. Then ``rows`` may not be empty.

    Raises:
        ConfigError: fp16 on a CPU, several passes of a model without dropout, or a model without what the acquisition
            function or the features need.
    """
    total, once = len(rows), len(models) == passes == 1
    scored = Scored(np.empty(total), np.empty(total, view.task.label_type.to_pandas_dtype()), np.empty(total))
    if acquisition in registry.MODEL_ACQUISITIONS:
        batches = _of_model(models[0], view, items, rows, acquisition, batch_size)
    elif once:
        batches = _of_one(models[0], view, items, rows, acquisition, batch_size)
    else:
        batches = _of_several(models, view, items, rows, acquisition, batch_size, passes)
    probabilities: list[npt.NDArray[np.float32]] = []
    found: list[Tensor] = []
    with progress.task("INFER", total) as bar, _taking(models[0], features and once) as taken:
        for start, score, predictions in batches:
            here = slice(start, start + len(score))
            scored.score[here] = score
            scored.proposal[here], scored.certainty[here] = view.task.proposed(predictions)
            if features:
                probabilities.append(view.task.probabilities(predictions))
            if taken:
                # An acquisition function may look at the batch in parts, and at some item beforehand.
                found.append(torch.cat(taken)[-len(score) :])
                taken.clear()
            bar.advance(len(score))
    if not features:
        return scored
    if not once:
        found = [torch.from_numpy(part) for _, part in feature_batches(models[0], items, rows, view, batch_size)]
    values = torch.cat(found).to(torch.float32).cpu().numpy()
    return replace(scored, seen=Seen(values, np.concatenate(probabilities)))


@contextmanager
def _taking(model: nn.Module, wanted: bool) -> Iterator[list[Tensor]]:
    """A list to which each call of the model adds its features, if they are wanted."""
    if not wanted:
        yield []
        return
    with penultimate(model) as taken:
        yield taken


def _of_model(
    model: nn.Module,
    view: View,
    items: Inputs,
    rows: npt.NDArray[np.int64],
    acquisition: str,
    batch_size: int,
) -> Iterator[_Batch]:
    function = registry.resolve(registry.MODEL_ACQUISITIONS, acquisition)
    model.eval()
    autocast = view.autocast()
    for start, batch in forward.batches(items, rows, view, batch_size):
        with autocast:
            scores, logits = function(model, view.laid_out(view.normalised(batch)))
        yield start, scores.double().cpu().numpy(), view.task.predictions(logits).cpu().numpy()


def _of_one(
    model: nn.Module,
    view: View,
    items: Inputs,
    rows: npt.NDArray[np.int64],
    acquisition: str,
    batch_size: int,
) -> Iterator[_Batch]:
    function = registry.resolve(registry.ACQUISITIONS_OF[view.task.name], acquisition)
    for start, batch in forward.predict_batches(model, items, rows, view, batch_size):
        yield start, function(batch), batch


def _of_several(
    models: Sequence[nn.Module],
    view: View,
    items: Inputs,
    rows: npt.NDArray[np.int64],
    acquisition: str,
    batch_size: int,
    passes: int,
) -> Iterator[_Batch]:
    compares = acquisition in registry.COMPARING
    table = registry.ACQUISITIONS_OF[view.task.name]
    function: Callable[[Any], npt.NDArray[np.float64]] = registry.resolve(table, acquisition)
    for start, samples in sample_batches(models, items, rows, view, passes, batch_size):
        predictions = samples.mixed()
        yield start, function(samples if compares else predictions), predictions
