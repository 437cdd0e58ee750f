"""The one way in which a model looks at items: batches, no gradients, no augmentation."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tasks.models.view import View

#: Items per batch where nobody asks for another number.
BATCH = 512
#: Items per batch on a CPU at most: in larger ones what the layers hand on leaves its caches, for up to half the speed.
_CPU_BATCH = 256


def log_probability_batches(
    model: nn.Module,
    items: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    view: View,
    batch_size: int = BATCH,
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Natural logarithms of the class probabilities, batch by batch, in the order of ``rows``.

    Args:
        model: on the view's device; is put into evaluation mode.
        items: uint8, (N, channels, height, width), in memory or memory-mapped; only one batch is copied at a time.
        rows: positions in ``items``.
        view: its precision is the network's; the softmax is computed in float32 from the logits in any case.

    Yields:
        The position in ``rows`` of the batch's first item, and float32 (batch, classes).

    Raises:
        ConfigError: fp16 on a CPU.
    """
    model.eval()
    autocast = view.autocast()
    for start, batch in batches(items, rows, view, batch_size):
        with torch.inference_mode(), autocast:
            logits = model(view.laid_out(view.normalised(batch)))
            scores = torch.log_softmax(logits.float(), dim=1)
        yield start, scores.cpu().numpy()


def batches(
    items: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], view: View, batch_size: int
) -> Iterator[tuple[int, Tensor]]:
    """The items at ``rows`` on the view's device, as they are, with the position of each batch's first in ``rows``."""
    if view.device.type == "cpu":
        batch_size = min(batch_size, _CPU_BATCH)
    for start in range(0, len(rows), batch_size):
        # Indexing copies, so that torch never sees read-only memory.
        yield start, torch.from_numpy(items[rows[start : start + batch_size]]).to(view.device, non_blocking=True)


def log_probabilities(
    model: nn.Module,
    items: npt.NDArray[np.uint8],
    view: View,
    batch_size: int = BATCH,
) -> npt.NDArray[np.float32]:
    """Natural logarithms of the class probabilities of all ``items``: float32, (N, classes), N at least 1.

    Raises:
        ConfigError: fp16 on a CPU.
    """
    rows = np.arange(len(items))
    batches = log_probability_batches(model, items, rows, view, batch_size)
    return np.concatenate([scores for _, scores in batches])
