"""What a model makes of an item before its last layer."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tasks.models.forward import predict_batches
from tasks.models.inputs import Inputs
from tasks.models.taps import penultimate
from tasks.models.view import View


def feature_batches(
    model: nn.Module, items: Inputs, rows: npt.NDArray[np.int64], view: View, batch_size: int
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """The model's penultimate features, batch by batch, in the order of ``rows``.

    Yields:
        The position in ``rows`` of the batch's first item, and float32 (batch, features).

    Raises:
        ConfigError: the model does not say where they are.
    """
    with penultimate(model) as seen:
        for start, _ in predict_batches(model, items, rows, view, batch_size):
            yield start, seen.pop().to(torch.float32).cpu().numpy()
