"""The one way in which a model looks at items: batches, no gradients, no augmentation."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tasks.models.inputs import Inputs, tensor
from tasks.models.view import View

#: Items per batch where nobody asks for another number.
BATCH = 512
#: Items per batch on a CPU at most: in larger ones what the layers hand on leaves its caches, for up to half the speed.
_CPU_BATCH = 256


def predict_batches(
    model: nn.Module,
    items: Inputs,
    rows: npt.NDArray[np.int64],
    view: View,
    batch_size: int = BATCH,
) -> Iterator[tuple[int, npt.NDArray[np.floating[Any]]]]:
    """What the model says of items, batch by batch, in the order of ``rows``.

    Args:
        model: on the view's device; is put into evaluation mode.
        items: as the model takes them, N of them, in memory or memory-mapped; only one batch is copied at a time.
        rows: positions in ``items``.
        view: its precision is the network's; what follows on it is computed in float32 at least in any case.

    Yields:
        The position in ``rows`` of the batch's first item, and the predictions of the view's task type, such as
        natural logarithms of class probabilities, float32 (batch, classes).

    Raises:
        ConfigError: fp16 on a CPU.
    """
    model.eval()
    autocast = view.autocast()
    for start, batch in batches(items, rows, view, batch_size):
        with torch.inference_mode(), autocast:
            predictions = view.task.predictions(model(view.laid_out(view.normalised(batch))))
        yield start, predictions.cpu().numpy()


def batches(items: Inputs, rows: npt.NDArray[np.int64], view: View, batch_size: int) -> Iterator[tuple[int, Tensor]]:
    """The items at ``rows`` on the view's device, as they are, with the position of each batch's first in ``rows``."""
    if view.device.type == "cpu":
        batch_size = min(batch_size, _CPU_BATCH)
    for start in range(0, len(rows), batch_size):
        # Indexing copies, so that torch never sees read-only memory.
        yield start, tensor(items[rows[start : start + batch_size]]).to(view.device, non_blocking=True)


def predict(model: nn.Module, items: Inputs, view: View, batch_size: int = BATCH) -> npt.NDArray[np.floating[Any]]:
    """What the model says of all ``items``, as ``predict_batches`` has it: (N, …), N at least 1.

    Raises:
        ConfigError: fp16 on a CPU.
    """
    rows = np.arange(len(items))
    return np.concatenate([scores for _, scores in predict_batches(model, items, rows, view, batch_size)])
